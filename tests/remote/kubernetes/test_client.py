"""What a real API server does only now and then: here a server on loopback follows a script."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import pytest

from graymw.errors import SourceError
from graymw.remote.kubernetes import client as module
from graymw.remote.kubernetes.client import ENDPOINT_SLICES, PODS, Event, Gone, KubernetesClient, Listed, Put, Resource
from graymw.remote.kubernetes.server import ApiServer
from graymw.settings.access import Access

EXPIRED = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version: 1 (9)"}


def named(name: str, version: int = 1) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop", "resourceVersion": str(version)}}


def listed(*names: str, version: int = 1, more: str = "") -> tuple[int, bytes]:
    """Answer to a list."""
    metadata = {"resourceVersion": str(version), **({"continue": more} if more else {})}
    return 200, json.dumps({"metadata": metadata, "items": [named(name) for name in names] or None}).encode()


def watched(*events: tuple[str, dict[str, Any]]) -> tuple[int, bytes]:
    """Answer to a watch, which ends then."""
    return 200, b"".join(json.dumps({"type": kind, "object": found}).encode() + b"\n" for kind, found in events)


class Script:
    """An API server that gives its answers one by one, the last of them for ever, and remembers what it was asked."""

    def __init__(self, *answers: tuple[int, bytes]) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        parts = urlsplit(head[0].split()[1])
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        self.asked.append((parts.path, {key: value[0] for key, value in parse_qs(parts.query).items()}, headers))
        status, body = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        writer.write(f"HTTP/1.1 {status} X\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()


def follow(
    script: Script, wanted: int, resource: Resource = ENDPOINT_SLICES, namespace: str = "shop", **access: str
) -> list[Event]:
    """The first events of a follow."""

    async def run() -> list[Event]:
        async with script:
            client = KubernetesClient(ApiServer(script.url, Access(**access)))
            events = client.follow(resource, namespace)
            try:
                return [await asyncio.wait_for(anext(events), 10) for _ in range(wanted)]
            finally:
                await events.aclose()
                await client.close()

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXPIRED_SECONDS", 0.001)


def test_a_list_comes_in_pages_and_the_watch_goes_on_from_its_version() -> None:
    script = Script(listed("a", version=5, more="next"), listed("b", version=5), watched(("DELETED", named("a", 6))))
    assert follow(script, 2) == [Listed((named("a"), named("b"))), Gone(named("a", 6))]
    pages, watch = script.asked[:2], script.asked[2][1]
    assert [asked.get("continue") for _, asked, _ in pages] == [None, "next"]
    assert (watch["watch"], watch["resourceVersion"], watch["allowWatchBookmarks"]) == ("1", "5", "1")


def test_a_watch_that_ends_goes_on_where_it_was_bookmarks_included() -> None:
    script = Script(
        listed(version=5),
        watched(("ADDED", named("a", 6)), ("MODIFIED", named("a", 7)), ("BOOKMARK", named("", 42))),
        watched(("ADDED", named("b", 43))),
        watched(),
    )
    assert follow(script, 4) == [Listed(()), Put(named("a", 6)), Put(named("a", 7)), Put(named("b", 43))]
    assert [asked["resourceVersion"] for _, asked, _ in script.asked[1:3]] == ["5", "42"]


@pytest.mark.parametrize("expired", [watched(("ERROR", EXPIRED)), (410, json.dumps(EXPIRED).encode())])
def test_where_changes_are_forgotten_all_is_listed_anew(expired: tuple[int, bytes]) -> None:
    script = Script(listed("a"), expired, listed("b"), watched())
    assert follow(script, 2) == [Listed((named("a"),)), Listed((named("b"),))]


def test_a_list_whose_later_pages_are_forgotten_begins_anew() -> None:
    script = Script(listed("a", more="next"), (410, json.dumps(EXPIRED).encode()), listed("b"), watched())
    assert follow(script, 1) == [Listed((named("b"),))]


def test_a_list_that_is_always_forgotten_is_given_up() -> None:
    pages: Sequence[tuple[int, bytes]] = [listed("a", more="next"), (410, b"{}")] * module.LIST_ATTEMPTS
    with pytest.raises(SourceError, match="forgets the endpointslices before they are all listed"):
        follow(Script(*pages), 1)


def test_of_pods_only_the_metadata_is_asked_for() -> None:
    script = Script(listed(), watched(("ADDED", named("a"))), watched())
    follow(script, 2, PODS)
    (path, _, list_headers), (_, _, watch_headers) = script.asked[:2]
    assert path == "/api/v1/namespaces/shop/pods"
    assert list_headers["accept"] == "application/json;as=partialobjectmetadatalist;g=meta.k8s.io;v=v1"
    assert watch_headers["accept"] == "application/json;as=partialobjectmetadata;g=meta.k8s.io;v=v1"


def test_without_a_namespace_all_are_asked_for() -> None:
    script = Script(listed(), watched())
    follow(script, 1, namespace="")
    assert script.asked[0][0] == "/apis/discovery.k8s.io/v1/endpointslices"


def test_the_token_is_shown_with_every_request() -> None:
    script = Script(listed(), watched(("ADDED", named("a"))), watched())
    follow(script, 2, token="mine")
    assert {headers["authorization"] for _, _, headers in script.asked} == {"bearer mine"}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((401, b"{}"), "does not accept who we are; check GRAYMW_REGISTRY_TOKEN, or the pod's service account"),
        ((403, b"{}"), "grant get, list and watch on endpointslices (API group discovery.k8s.io) in namespace shop"),
        ((404, b"404 page not found"), "knows no endpointslices; check that it is Kubernetes 1.21 or newer"),
        (
            (500, json.dumps({"message": "etcd is\ngone"}).encode()),
            "refused a list of endpointslices: 500 etcd is gone",
        ),
        ((200, b"<html>"), "is no JSON"),
        ((200, b"[]"), "answers what is no list or watch of it"),
        ((200, b'{"metadata": {}}'), "answers what is no list or watch of it"),
    ],
)
def test_a_refusal_is_one_clear_sentence(answer: tuple[int, bytes], told: str) -> None:
    with pytest.raises(SourceError) as refused:
        follow(Script(answer), 1)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (watched(("ERROR", {"code": 500, "message": "out of breath"})), "500 out of breath"),
        ((200, b'{"type": "ADDED", "object": {"meta'), "broke off a watch of endpointslices"),
        (watched(("ADDED", {})), "answers what is no list or watch of it"),
        ((403, b"{}"), "grant get, list and watch"),
    ],
)
def test_a_watch_that_breaks_is_told(answer: tuple[int, bytes], told: str) -> None:
    with pytest.raises(SourceError) as broken:
        follow(Script(listed(), answer), 2)
    assert told in str(broken.value)


def test_a_server_that_is_not_there_is_told() -> None:
    async def run() -> None:
        async with Script(listed()) as script:
            url = script.url
        client = KubernetesClient(ApiServer(url, Access()))
        try:
            await anext(client.follow(PODS, "shop"))
        finally:
            await client.close()

    with pytest.raises(SourceError, match="cannot be reached"):
        asyncio.run(run())


def test_a_blocked_watch_ends_at_once_when_it_is_cancelled() -> None:
    async def run() -> None:
        async with Script(listed()) as script:
            reached, release = asyncio.Event(), asyncio.Event()
            serve = script._serve

            async def stalled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                if script.asked:
                    reached.set()
                    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                    await release.wait()
                    writer.close()
                else:
                    await serve(reader, writer)

            script._server.close()
            script._server = await asyncio.start_server(stalled, "127.0.0.1", 0)
            client = KubernetesClient(ApiServer(script.url, Access()))
            events = client.follow(ENDPOINT_SLICES, "shop")
            await anext(events)
            blocked = asyncio.ensure_future(anext(events))
            await asyncio.wait_for(reached.wait(), 5)
            blocked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(blocked, 5)
            await client.close()
            release.set()

    asyncio.run(run())
