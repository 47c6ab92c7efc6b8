"""Every test begins in a process that never heard of graymw, and leaves one behind."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from graymw.runtime import counters, current

# The first example of a property may import a library, and the machine may be busy: nothing here is about time.
settings.register_profile("untimed", deadline=None)
# What CI says of a change must not depend on luck; new examples are looked for wherever people run the tests.
settings.register_profile("ci", parent=settings.get_profile("untimed"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several workers share the work (pytest-xdist): a file is one piece of it, a backend's laws are another."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_piece(item)))


def _piece(item: pytest.Item) -> str:
    folder = item.path.parent.name
    variant = next(iter(getattr(getattr(item, "callspec", None), "params", {}).values()), "")
    if "nacos" in item.nodeid:
        return "nacos"  # each worker would start servers of its own, of 600 MB each
    if folder == "contract" and isinstance(variant, str):
        return f"contract-{variant.partition('-')[0]}"
    return str(item.path)


@pytest.fixture(autouse=True)
def clean_process(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No settings in the environment, no engine, no counts; state files go to a folder of the test."""
    for name in list(os.environ):
        if name.startswith(("GRAYMW_", "OTEL_")):
            monkeypatch.delenv(name)
    state = str(tmp_path_factory.mktemp("state"))
    monkeypatch.setenv("GRAYMW_STATE_DIR", state)
    monkeypatch.setenv("XDG_STATE_HOME", state)
    counters.reset()
    yield
    from graymw import bootstrap

    bootstrap.shut_down()
    current.set_default_engine(None)
    counters.reset()
