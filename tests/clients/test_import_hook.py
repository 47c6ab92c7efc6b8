"""No library is imported for our sake, and each is covered from the moment it is."""

from __future__ import annotations

import importlib
import sys
import textwrap
from pathlib import Path
from subprocess import run

import pytest

from graymw.clients.import_hook import ImportHook


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = "library_of_the_application"
    (tmp_path / f"{name}.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def test_a_library_is_announced_once_it_is_executed(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    hook = ImportHook({library: lambda: seen.append(sys.modules[library].value)})
    hook.install()
    try:
        assert library not in sys.modules
        module = importlib.import_module(library)
        assert seen == [1]
        importlib.reload(module)
        assert seen == [1]
    finally:
        hook.remove()
        monkeypatch.delitem(sys.modules, library)


def test_the_hook_leaves_no_trace_in_the_module(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = ImportHook({library: lambda: None})
    hook.install()
    try:
        module = importlib.import_module(library)
        assert type(module.__loader__).__module__.startswith(("_frozen_importlib", "importlib"))
        assert module.__spec__.loader is module.__loader__
    finally:
        hook.remove()
        monkeypatch.delitem(sys.modules, library)


def test_asking_whether_a_library_is_there_announces_nothing(library: str) -> None:
    seen: list[str] = []
    hook = ImportHook({library: lambda: seen.append(library)})
    hook.install()
    try:
        spec = importlib.util.find_spec(library)
        assert spec is not None
        assert spec.loader.get_source(library) == "value = 1\n"
        assert seen == []
    finally:
        hook.remove()


def test_what_is_imported_already_is_announced_at_once() -> None:
    seen: list[str] = []
    hook = ImportHook({"json": lambda: seen.append("json")})
    hook.install()
    assert seen == ["json"]
    assert hook not in sys.meta_path


def test_a_library_that_is_kept_out_is_nobodys_business(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    seen: list[str] = []
    hook = ImportHook({library: lambda: seen.append(library)})
    hook.install()
    hook.remove()
    assert seen == []


def test_a_removed_hook_announces_nothing(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    hook = ImportHook({library: lambda: seen.append(library)})
    hook.install()
    hook.remove()
    importlib.import_module(library)
    monkeypatch.delitem(sys.modules, library)
    assert seen == []


def test_a_library_that_cannot_be_imported_raises_its_own_error(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{library}.py").write_text("import no_such_module_at_all\n")
    hook = ImportHook({library: lambda: None})
    hook.install()
    try:
        with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
            importlib.import_module(library)
        assert library not in sys.modules
    finally:
        hook.remove()


def in_new_process(code: str) -> str:
    done = run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_instrumenting_imports_no_library_and_covers_each_when_it_comes() -> None:
    assert (
        in_new_process("""
            import sys
            from graymw.clients import instrumenting
            instrumenting.instrument()
            libraries = ("httpx", "requests", "urllib3", "aiohttp", "grpc")
            print([name for name in libraries if name in sys.modules])
            import requests
            print([name for name in libraries if name in sys.modules])
            import httpx, aiohttp, grpc, urllib3
            print(
                httpx.Client._transport_for_url.__module__,
                requests.Session.get_adapter.__wrapped__.__module__,
                urllib3.HTTPConnectionPool.urlopen.__wrapped__.__module__,
                aiohttp.ClientSession._request.__wrapped__.__module__,
                type(grpc.insecure_channel("localhost:1")).__name__,
            )
        """)
        == "[]\n['requests', 'urllib3']\n"
        "graymw.clients.httpx_family requests.sessions urllib3.connectionpool aiohttp.client GrayChannel"
    )


def test_a_library_of_an_unknown_build_can_still_be_imported() -> None:
    assert (
        in_new_process("""
            import sys, logging
            logging.basicConfig(level="ERROR", stream=sys.stdout, format="%(message)s")
            from graymw.clients import instrumenting
            instrumenting.ADAPTERS = {"colorsys": "graymw.clients.no_such_adapter"}
            instrumenting.instrument()
            import colorsys
            from graymw.runtime import counters
            print(colorsys.__name__, counters.snapshot())
        """)
        == "calls of colorsys carry nothing, this version of it is not known: "
        "ModuleNotFoundError(\"No module named 'graymw.clients.no_such_adapter'\")\ncolorsys {'client.uncovered': 1}"
    )
