from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TypeVar

import pytest
from apollo_stand_in import ApolloStandIn

from graymw.errors import SourceError
from graymw.remote import apollo
from graymw.remote.apollo import ApolloClient, Notified, Place, signed
from graymw.settings.access import Access

T = TypeVar("T")
PLACE = ("shop app", "default", "rules+v1.yaml")
SECRET = "df23df3f59884980844ff3dada30fa97"


@pytest.fixture
def server() -> Iterator[ApolloStandIn]:
    server = ApolloStandIn(hold_seconds=0.2)
    server.start()
    yield server
    server.stop()


def asked(
    server: ApolloStandIn, ask: Callable[[ApolloClient], Awaitable[T]], *, secret: str = "", ahead: float = 0.0
) -> T:
    async def run() -> T:
        urls = (f"http://{server.authority}",)
        place = Place(*PLACE, shown="apollo://h/rules", label="canary", ip="10.0.0.1")
        options = {"clock": lambda: apollo.time.time() + ahead}  # type: ignore[attr-defined]
        async with ApolloClient(urls, place, Access(secret_key=secret), **options) as client:
            return await ask(client)

    return asyncio.run(run())


def read(server: ApolloStandIn, seen: Notified | None = None, **options: object) -> Mapping[str, str] | None:
    return asked(server, lambda client: client.configurations(seen or Notified()), **options)  # type: ignore[arg-type]


def test_a_request_is_signed_as_apollo_checks_it() -> None:
    """The vector of Apollo's own tests."""
    assert signed("/configs/100004458/default/application?ip=10.0.0.1", "100004458", SECRET, 1576478257.344) == {
        "authorization": "Apollo 100004458:EoKyziXvKqzHgwx+ijDJwgVTDgE=",
        "timestamp": "1576478257344",
    }


def test_what_is_signed_is_what_is_sent(server: ApolloStandIn) -> None:
    """Names that must be encoded, and messages with braces and quotes."""
    server.secret = SECRET
    server.release(*PLACE, {"content": "a"})
    notified = asked(server, lambda client: client.notified(Notified()), secret=SECRET)
    assert notified is not None
    assert notified.messages == {"details": {"+".join(PLACE): notified.number}}
    assert read(server, notified, secret=SECRET) == {"content": "a"}
    assert server.asked[-1].query["messages"].startswith('{"details":{"shop app+default+')
    assert (server.asked[-1].query["label"], server.asked[-1].query["ip"]) == ("canary", "10.0.0.1")


@pytest.mark.parametrize(("secret", "ahead"), [("", 0.0), ("other", 0.0), (SECRET, 61.0), (SECRET, -61.0)])
def test_a_refusal_is_told_with_the_mend(server: ApolloStandIn, secret: str, ahead: float) -> None:
    server.secret = SECRET
    with pytest.raises(SourceError, match="check GRAYMW_RULES_SECRET_KEY, and that the clocks agree"):
        read(server, secret=secret, ahead=ahead)


def test_what_was_never_released_is_nothing(server: ApolloStandIn) -> None:
    assert read(server) is None
    assert asked(server, lambda client: client.notified(Notified())) is None


def test_a_poll_without_news_ends_without_news(server: ApolloStandIn) -> None:
    server.release(*PLACE, {"content": "a"})
    told = asked(server, lambda client: client.notified(Notified()))
    assert told is not None
    assert asked(server, lambda client: client.notified(told)) is None


def test_a_server_that_lags_behind_looks_again_when_it_is_shown_what_was_told(server: ApolloStandIn) -> None:
    server.lag = True
    server.release(*PLACE, {"content": "a"})
    server.release(*PLACE, {"content": "b"})
    assert read(server) == {"content": "a"}
    assert read(server, asked(server, lambda client: client.notified(Notified()))) == {"content": "b"}


def test_differences_to_nothing_are_the_whole(server: ApolloStandIn) -> None:
    server.incremental = True
    server.release(*PLACE, {"content": "a", "other": "b"})
    assert read(server) == {"content": "a", "other": "b"}


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (500, {"message": "database"}, "answers with status 500"),
        (200, [], "check that it is Apollo's config service that listens there"),
        (200, {"configurations": 7}, "check that it is Apollo's config service"),
        (200, {"message": "welcome"}, "check that it is Apollo's config service"),
    ],
)
def test_what_else_may_listen_there(
    server: ApolloStandIn, status: int, body: object, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "answer", lambda *_: (status, body))
    with pytest.raises(SourceError, match=told):
        read(server)


@pytest.mark.parametrize("body", [[], {}, [{}], [7], [{"notificationId": "x"}], "x", None])
def test_what_is_no_notification(server: ApolloStandIn, body: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "answer", lambda *_: (200, body))
    with pytest.raises(SourceError):
        asked(server, lambda client: client.notified(Notified()))
