"""The Apollo source against a stand-in (``tests/support/apollo_stand_in.py``), beyond the laws of all sources."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from apollo_stand_in import ApolloStandIn

from graymw.errors import MissingExtraError, SettingsError
from graymw.settings.access import Access
from graymw.settings.schema import Settings
from graymw.sources import apollo, source_for
from graymw.sources.apollo import ApolloSource

DEADLINE = 5.0
PLACE = ("shop", "default", "rules.yaml")


@pytest.fixture
def server() -> Iterator[ApolloStandIn]:
    server = ApolloStandIn()
    server.start()
    yield server
    server.stop()


def source_of(server: ApolloStandIn, path: str = "shop/default/rules.yaml") -> ApolloSource:
    return ApolloSource(f"apollo://{server.authority}/{path}", Access())


@pytest.mark.parametrize(
    ("path", "namespace", "configurations", "expected"),
    [
        ("shop/default/rules.yaml", "rules.yaml", {"content": "a"}, ("a", "yaml")),
        ("shop/default/Rules.JSON", "rules.json", {"content": "a"}, ("a", "json")),
        ("shop/default/application?key=gray.rules", "application", {"gray.rules": "a", "content": "b"}, ("a", None)),
        ("shop/default/application.properties?key=rules", "application", {"rules": "a"}, ("a", None)),
        ("shop/default/application", "application", {"rules": "a"}, (None, None)),
    ],
)
def test_where_the_document_stands(
    server: ApolloStandIn,
    path: str,
    namespace: str,
    configurations: dict[str, str],
    expected: tuple[str | None, str | None],
) -> None:
    server.release("shop", "default", namespace, configurations)
    fetched = asyncio.run(source_of(server, path).load())
    assert (fetched.text, fetched.format) == expected


def test_a_release_before_the_first_poll_is_not_missed(server: ApolloStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes between the first look and the first poll."""
    server.release(*PLACE, {"content": "a"})

    async def run() -> None:
        changes = source_of(server).watch()
        assert (await anext(changes)).text == "a"
        server.release(*PLACE, {"content": "b"})
        assert (await asyncio.wait_for(anext(changes), DEADLINE)).text == "b"
        await changes.aclose()

    asyncio.run(run())


def test_a_server_that_lags_behind_its_own_news_is_not_believed(server: ApolloStandIn) -> None:
    server.lag = True
    server.release(*PLACE, {"content": "a"})

    async def run() -> None:
        changes = source_of(server).watch()
        await anext(changes)
        for content in ("b", "c"):
            server.release(*PLACE, {"content": content})
            assert (await asyncio.wait_for(anext(changes), DEADLINE)).text == content
        await changes.aclose()

    asyncio.run(run())


def test_a_minute_without_news_ends_in_a_look(server: ApolloStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server did not tell of, as after a restore of its database."""
    monkeypatch.setattr(apollo, "PAUSE_SECONDS", 0.01)
    server.hold_seconds = 0.05
    server.release(*PLACE, {"content": "a"})

    async def run() -> None:
        changes = source_of(server).watch()
        await anext(changes)
        next_one = asyncio.ensure_future(anext(changes))
        async with asyncio.timeout(DEADLINE):
            while len(server.asked) < 6:
                await asyncio.wait([next_one], timeout=0.01)
        for namespace in server._namespaces.values():
            namespace.configurations = {"content": "b"}
        assert (await asyncio.wait_for(next_one, DEADLINE)).text == "b"
        await changes.aclose()

    asyncio.run(run())


def test_a_server_that_holds_no_poll_is_not_asked_without_pause(
    server: ApolloStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Apollo's own mock does."""
    server.hold_seconds = 0.0
    server.release(*PLACE, {"content": "a"})
    pauses: list[float] = []
    enough = asyncio.Event()

    async def run() -> None:
        async def sleep(seconds: float) -> None:
            pauses.append(seconds)
            await enough.wait()

        changes = source_of(server).watch()
        await anext(changes)
        monkeypatch.setattr(apollo.asyncio, "sleep", sleep)  # type: ignore[attr-defined]
        next_one = asyncio.ensure_future(anext(changes))
        while not pauses:
            await asyncio.wait([next_one], timeout=0.01)
        next_one.cancel()
        await asyncio.wait([next_one])
        await changes.aclose()

    asyncio.run(run())
    assert pauses == [apollo.PAUSE_SECONDS]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("apollo://h/shop/default", "does not name application, cluster and namespace; write it like apollo://127.0."),
        ("apollo://h/shop//rules", "does not name application, cluster and namespace"),
        ("apollo://h/a/b/c/d", "does not name application, cluster and namespace"),
        ("apollo:///shop/default/rules", "it names no host"),
        ("apollo://h/shop/default/rules?lable=x", "there is no parameter lable; did you mean label?"),
    ],
)
def test_what_is_no_place_is_refused_with_the_mend(url: str, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        ApolloSource(url, Access())
    (problem,) = refused.value.problems
    assert problem.path == "GRAYMW_RULES"
    assert told in f"{problem.message}; {problem.mend}"


@pytest.mark.parametrize("scheme", ["apollo", "apollo+https"])
def test_rules_name_it(scheme: str) -> None:
    source = source_for(Settings(rules=f"{scheme}://h1,h2:81/shop/default/rules.yaml"))
    assert isinstance(source, ApolloSource)
    http = "https" if scheme.endswith("https") else "http"
    assert source._base_urls == (f"{http}://h1:8080", f"{http}://h2:81")
    assert source.name == f"{scheme}://h1,h2:81/shop/default/rules.yaml"


def test_a_missing_library_is_told_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graymw.remote.http.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"httpx is not installed: pip install 'graymw\[apollo\]'$"):
        ApolloSource("apollo://h/shop/default/rules.yaml", Access())
