"""The Kubernetes API as far as graymw reads it: objects listed in pages, then watched.

Lists, watches, bookmarks and expired versions are as in the Kubernetes documentation, "Kubernetes API Concepts".
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from graymw.errors import SourceError
from graymw.remote.http import HttpClient
from graymw.remote.kubernetes.server import ApiServer
from graymw.runtime.backoff import Backoff

Object: TypeAlias = Mapping[str, Any]

PAGE: Final = 500
LIST_SECONDS: Final = 30.0
LIST_ATTEMPTS: Final = 3
"""How often a list is begun anew whose later pages the server has forgotten meanwhile."""

WATCH_SECONDS: Final = (240, 480)
"""After how long the server is asked to end a watch; spread, so that many processes do not come back at one moment."""

SILENCE_SECONDS: Final = 100.0
"""A watch that brings not even a bookmark for so long is broken: the server sends one about every minute."""

EXPIRED_SECONDS: Final = 1.0
"""Longest wait before everything is listed anew, where the server has forgotten what happened since."""

_GONE: Final = 410
_METADATA_ONLY: Final = "application/json;as={kind};g=meta.k8s.io;v=v1"


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object.

    Attributes:
        name: Plural, as paths and roles name it.
        group: API group; empty for the core.
        version: Version of the group.
        metadata_only: Whether only names, labels and annotations are asked for.
    """

    name: str
    group: str
    version: str
    metadata_only: bool = False

    def path(self, namespace: str) -> str:
        """Where objects of a namespace are listed; those of all namespaces where it is empty."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return f"{root}/namespaces/{namespace}/{self.name}" if namespace else f"{root}/{self.name}"


ENDPOINT_SLICES: Final = Resource("endpointslices", "discovery.k8s.io", "v1")
PODS: Final = Resource("pods", "", "v1", metadata_only=True)
SERVICES: Final = Resource("services", "", "v1")


@dataclass(frozen=True, slots=True)
class Listed:
    """All objects there are now; whatever was known before counts no more."""

    objects: tuple[Object, ...]


@dataclass(frozen=True, slots=True)
class Put:
    """An object is new, or has changed."""

    object: Object


@dataclass(frozen=True, slots=True)
class Gone:
    """An object is no more."""

    object: Object


Event: TypeAlias = Listed | Put | Gone


class KubernetesClient:
    """Reads and follows objects. To be made and used in one event loop.

    Args:
        server: Whom to ask.
        watch_seconds: Least and most seconds of one watch.

    Raises:
        MissingExtraError: The HTTP library is not installed.
        SourceError: A certificate cannot be used.
    """

    def __init__(self, server: ApiServer, *, watch_seconds: tuple[int, int] = WATCH_SECONDS) -> None:
        self._server = server
        self._watch_seconds = watch_seconds
        self._http = HttpClient([server.url], server.access, backend="kubernetes")

    @property
    def _where(self) -> str:
        return f"kubernetes at {self._server.url}"

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()

    async def follow(self, resource: Resource, namespace: str, selector: str = "") -> AsyncGenerator[Event, None]:
        """The objects as they are, then each change; all of them anew where changes may have been missed.

        Args:
            resource: Kind of the objects.
            namespace: Where they are; empty for all namespaces.
            selector: Label selector; empty for all objects.

        Raises:
            SourceError: The server is out of reach, refuses, or answers what cannot be understood.
        """
        chosen = {"labelSelector": selector} if selector else {}
        while True:
            try:
                objects, version = await self._list(resource, namespace, chosen)
                yield Listed(objects)
                async with aclosing(self._watch(resource, namespace, chosen, version)) as changes:
                    async for change in changes:
                        yield change
            except _ExpiredError:  # as many processes may learn at one moment
                await asyncio.sleep(Backoff(EXPIRED_SECONDS).next())
            except (KeyError, TypeError, AttributeError) as error:
                raise SourceError(f"{self._where} answers what is no list or watch of it") from error

    async def _list(
        self, resource: Resource, namespace: str, chosen: Mapping[str, str]
    ) -> tuple[tuple[Object, ...], str]:
        """All objects, page by page, and the version at which they were like this."""
        for _ in range(LIST_ATTEMPTS):
            objects: list[Object] = []
            more = ""
            while True:
                params: dict[str, str | int] = {**chosen, "limit": PAGE}
                if more:
                    params["continue"] = more
                headers = self._headers(resource, "PartialObjectMetadataList")
                path = resource.path(namespace)
                answer = await self._http.request("GET", path, params=params, headers=headers, timeout=LIST_SECONDS)
                if answer.status == _GONE and more:
                    break
                if answer.status != 200:
                    raise self._refusal(answer.status, answer.content, resource, namespace)
                body = answer.json()
                objects += body["items"] or ()  # null in an empty list of metadata
                more = body["metadata"].get("continue", "")
                if not more:
                    return tuple(objects), body["metadata"]["resourceVersion"]
        raise SourceError(f"{self._where} forgets the {resource.name} before they are all listed")

    async def _watch(
        self, resource: Resource, namespace: str, chosen: Mapping[str, str], version: str
    ) -> AsyncGenerator[Event, None]:
        """Changes after a version, through as many watches as it takes.

        Raises:
            _ExpiredError: The server no longer knows all changes since.
        """
        pause = Backoff()
        while True:
            began = time.monotonic()
            seconds = random.randint(*self._watch_seconds)  # noqa: S311 - no secret
            params: dict[str, str | int] = {
                **chosen,
                "watch": "1",
                "allowWatchBookmarks": "1",
                "resourceVersion": version,
                "timeoutSeconds": seconds,
            }
            headers = self._headers(resource, "PartialObjectMetadata")
            async with (
                self._http.lines(
                    "GET", resource.path(namespace), params=params, headers=headers, read_timeout=SILENCE_SECONDS
                ) as (status, lines),
                aclosing(_messages(lines)) as messages,
            ):
                if status != 200:
                    raise self._refusal(status, b"\n".join([line async for line in messages]), resource, namespace)
                async for message in messages:
                    kind, changed = self._read(message, resource, namespace)
                    version = changed["metadata"]["resourceVersion"]
                    if kind is not None:
                        yield kind(changed)
            if time.monotonic() - began < 1:  # a server on its way down ends every watch at once
                await asyncio.sleep(pause.next())
            else:
                pause.reset()

    def _read(
        self, message: bytes, resource: Resource, namespace: str
    ) -> tuple[Callable[[Object], Event] | None, Object]:
        """Kind and object of a message of a watch; no kind for a bookmark, which only tells a version."""
        try:
            event = json.loads(message)
        except ValueError:
            raise SourceError(f"{self._where} broke off a watch of {resource.name}") from None
        changed: Object = event["object"]
        match event["type"]:
            case "ADDED" | "MODIFIED":
                return Put, changed
            case "DELETED":
                return Gone, changed
            case "BOOKMARK":
                return None, changed
            case _:
                raise self._refusal(changed.get("code", 500), json.dumps(changed).encode(), resource, namespace)

    def _headers(self, resource: Resource, kind: str) -> dict[str, str]:
        accept = _METADATA_ONLY.format(kind=kind) if resource.metadata_only else "application/json"
        return {**self._server.headers(), "accept": accept}

    def _refusal(self, status: int, body: bytes, resource: Resource, namespace: str) -> Exception:
        """What an answer means that is no success."""
        if status == _GONE:
            return _ExpiredError()
        where = self._where
        match status:
            case 401:
                mend = "check GRAYMW_REGISTRY_TOKEN, or the pod's service account"
                return SourceError(f"{where} does not accept who we are; {mend}")
            case 403:
                group = resource.group or '""'
                scope = f"in namespace {namespace}" if namespace else "in all namespaces (a ClusterRole)"
                grant = f"grant get, list and watch on {resource.name} (API group {group}) {scope}"
                return ForbiddenError(f"{where} does not let us read {resource.name}: {grant}")
            case 404:
                return SourceError(f"{where} knows no {resource.name}; check that it is Kubernetes 1.21 or newer")
            case _:
                return SourceError(f"{where} refused a list of {resource.name}: {status} {_message(body)}")


class ForbiddenError(SourceError):
    """The server knows who we are, and does not let us read that."""


class _ExpiredError(Exception):
    """The server has forgotten what happened since the version that was asked for."""


async def _messages(lines: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    async for line in lines:
        if line:
            yield line


def _message(body: bytes) -> str:
    """What a ``Status`` object says, on one line."""
    text = body.decode("utf-8", "replace")
    with suppress(ValueError, TypeError, KeyError):
        text = json.loads(text)["message"]
    return " ".join(str(text)[:200].split())
