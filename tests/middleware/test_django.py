"""Django, wrapped or by its ``MIDDLEWARE``, under gunicorn and uvicorn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from serving import Service, free_port, serving
from waiting import eventually

import graymw

PROJECT = Path(__file__).parent / "django_project"
GRAY = {"x-gray-version": "true"}
STABLE = {"x-user-id": next(str(uid) for uid in range(100) if graymw.bucket("default", str(uid)) >= 5_000)}


@pytest.fixture(scope="module", params=["wsgi wrapped", "wsgi middleware", "asgi wrapped", "asgi middleware"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    mode, shape = request.param.split()
    port = free_port()
    if mode == "wsgi":
        command = ["gunicorn", "project:application", "--bind", f"127.0.0.1:{port}", "--no-control-socket"]
    else:
        command = ["uvicorn", "project:application", "--port", str(port), "--log-level", "warning", "--lifespan", "off"]
    folder = tmp_path_factory.mktemp("django")
    environ = {
        "MODE": mode,
        "SHAPE": shape,
        "GRAYMW_SERVICE": "orders",
        "GRAYMW_GRAY_RATIO": "50%",
        "GRAYMW_STATE_DIR": str(folder / "state"),
        "GRAYMW_ACCESS_LOG": "stdout",
    }
    with serving(command, environ, folder, port, cwd=PROJECT) as service:
        yield service


@pytest.mark.parametrize("path", ["/told", "/told-async"])
def test_views_see_their_requests_decision_and_one_clean_header(served: Service, path: str) -> None:
    version, baggage = json.loads(served.ask(path, {**GRAY, "baggage": "k=v;p=1"}))
    assert version == "v2"
    assert baggage.startswith("gray.default=v2,gray-rev=")
    assert baggage.endswith(",k=v;p=1")
    assert json.loads(served.ask(path, STABLE))[0] == "v1"


def test_a_view_inherits(served: Service) -> None:
    assert json.loads(served.ask("/told", {"baggage": "gray.default=v7"}))[0] == "v7"


def test_streamed_bodies_see_their_requests_context(served: Service) -> None:
    path = "/stream" if "gunicorn" in " ".join(map(str, served.process.args)) else "/stream-async"
    assert served.ask(path, GRAY).split() == [b"v2"] * 3
    assert served.ask(path, STABLE).split() == [b"v1"] * 3


def test_a_refused_call_answers_503(served: Service) -> None:
    with pytest.raises(HTTPError) as caught:
        served.ask("/refused")
    assert caught.value.code == 503
    assert b"payments" in caught.value.read()
    caught.value.close()


def test_a_visitor_without_a_key_gets_a_cookie_where_a_share_is_drawn(served: Service) -> None:
    with urlopen(f"http://127.0.0.1:{served.port}/told", timeout=10) as answer:
        version = json.load(answer)[0]
        cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("gray_id=")
    assert "HttpOnly" in cookie
    again = json.loads(served.ask("/told", {"cookie": cookie.partition(";")[0]}))
    assert again[0] == version


def test_each_request_has_one_access_line(served: Service) -> None:
    stream = "/stream" if "gunicorn" in " ".join(map(str, served.process.args)) else "/stream-async"

    def answered() -> list[tuple[str, int, str]]:
        told = [json.loads(line) for line in served.output[before:].splitlines() if line.startswith("{")]
        return [(line["path"], line["status"], line["version"]) for line in told]

    before = 0
    served.ask("/told", {"baggage": "gray.default=v9"})  # the last line of what was asked before
    eventually(lambda: answered() and answered()[-1] == ("/told", 200, "v9"))
    before = len(served.output)
    served.ask("/told", GRAY)
    served.ask(stream, STABLE)
    with pytest.raises(HTTPError) as caught:
        served.ask("/refused", GRAY)
    caught.value.close()
    eventually(lambda: len(answered()) >= 3)
    assert sorted(answered()) == sorted([("/told", 200, "v2"), (stream, 200, "v1"), ("/refused", 503, "v2")])
