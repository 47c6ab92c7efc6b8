from __future__ import annotations

import json
import threading
from pathlib import Path

from graymw.demo import chain
from graymw.demo.processes import Service

FOREIGN = {
    "PATH": "/bin",
    "GRAYMW_ENABLED": "false",
    "OTEL_SDK_DISABLED": "true",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://elsewhere",
    "WEB_CONCURRENCY": "9",
    "https_proxy": "http://proxy",
    "HTTP_PROXY": "http://proxy",
}


def services(tmp_path: Path) -> list[Service]:
    return chain.chain(tmp_path, rules=tmp_path / "rules.yaml", otlp_endpoint="http://127.0.0.1:4318", environ=FOREIGN)


def test_the_called_start_before_their_callers(tmp_path: Path) -> None:
    assert [str(entry) for entry in services(tmp_path)] == [
        "payments v1",
        "payments v2",
        "orders v1",
        "orders v2",
        "edge v1",
    ]


def test_every_service_knows_its_name_and_where_the_others_are(tmp_path: Path) -> None:
    found = services(tmp_path)
    for entry in found:
        assert (entry.environ["GRAYMW_SERVICE"], entry.environ["GRAYMW_VERSION"]) == (entry.name, entry.version)
        table = json.loads(entry.environ["GRAYMW_SERVICES"])
        for other in found:
            assert {"url": other.url, "version": other.version} in table[other.name]


def test_settings_meant_for_others_do_not_reach_the_services(tmp_path: Path) -> None:
    environ = services(tmp_path)[0].environ
    assert environ["PATH"] == "/bin"
    assert environ["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:4318"
    assert not (FOREIGN.keys() - {"PATH"}) & environ.keys()


def test_the_example_services_are_at_hand() -> None:
    root = chain.sources()
    for name in ("rules.yaml", "fastapi_app/main.py", "fastapi_app/payments.py", "flask_app/main.py"):
        assert (root / name).is_file()


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    texts = {"a" * 100_000, "b" * 100_000}
    path.write_text(min(texts))
    done = threading.Event()

    def write() -> None:
        for _ in range(50):
            for text in texts:
                chain.replace_file(path, text)
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not done.is_set():
        assert path.read_text() in texts
    thread.join()
    assert [entry.name for entry in tmp_path.iterdir()] == ["rules.yaml"]
