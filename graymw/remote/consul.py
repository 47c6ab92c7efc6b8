"""Consul's HTTP API: requests, and watching by blocking queries.

Facts: developer.hashicorp.com/consul/api-docs, "Blocking Queries", "Consistency Modes"; held against Consul 1.8.7.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import Final, Self

from graymw.errors import SourceError
from graymw.remote.http import Answer, HttpClient
from graymw.remote.pacing import Pace
from graymw.remote.tokens import current_token
from graymw.remote.url import BackendUrl
from graymw.settings.access import Access

PORT: Final = 8500
WAIT_SECONDS: Final = 55
"""How long the server holds a blocking query; below the minute after which proxies lose patience."""

_GRACE: Final = WAIT_SECONDS / 16 + 10
"""The server adds up to a sixteenth of the wait, so that not all queries end at once; the rest is the way."""

_BURST: Final = 20
_PER_SECOND: Final = 10.0
_INDEX: Final = "x-consul-index"
_FILTERED: Final = "x-consul-results-filtered-by-acls"
_AUTHORIZE: Final = "/v1/internal/acl/authorize"


class ConsulClient:
    """A connection to one Consul agent or server; to be made and used in one event loop.

    Args:
        url: Where it is; several hosts are tried in turn.
        access: The token, and the certificates for TLS.
        setting: ``GRAYMW_REGISTRY`` or ``GRAYMW_RULES``, for what to tell people to mend.
    """

    def __init__(self, url: BackendUrl, access: Access, *, setting: str) -> None:
        self._url = url
        self._access = access
        self._setting = setting
        self._http = HttpClient(url.base_urls, access, backend="consul")
        self._namespace = {"ns": url.query["namespace"]} if url.query.get("namespace") else {}
        self._datacenter = {"dc": url.query["datacenter"]} if url.query.get("datacenter") else {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: object = None,
        content: bytes | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - of the answer's beginning
    ) -> Answer:
        """Send one request to the agent; the answer has any status but those that refuse the token.

        Raises:
            SourceError: Nobody can be reached, or the token is refused.
        """
        answer = await self._http.request(
            method,
            path,
            params={**self._namespace, **(params or {})},
            json=json,
            content=content,
            headers=self._headers(),
            timeout=timeout,
        )
        if answer.status in (401, 403):
            raise self.forbidden(answer.shown)
        return answer

    async def read(self, path: str, params: Mapping[str, str]) -> Answer:
        """What the servers of the datacenter hold: the answer is 200, or 404 where there is nothing.

        Raises:
            SourceError: It cannot be had now.
        """
        return await self._read(path, params, None)

    async def submit(self, path: str, content: bytes) -> Answer:
        """Have the servers of the datacenter do something; any status but a refused token is an answer.

        Raises:
            SourceError: Nobody can be reached, or the token is refused.
        """
        return await self.ask("PUT", path, params=self._datacenter, content=content)

    async def changes(self, path: str, params: Mapping[str, str]) -> AsyncGenerator[Answer]:
        """What the servers hold now, then again whenever it may have changed: a return proves no change.

        Yields:
            Answers as ``read`` gives them.

        Raises:
            SourceError: It cannot be had now.
        """
        pace = Pace(_BURST, _PER_SECOND)
        index = 0
        while True:
            await pace.step()
            answer = await self._read(path, params, index)
            found = self._index(answer)
            if found < index:
                # The server was restored, or has only begun to read its log: what it says now may be a part of it.
                index = 0
                continue
            index = max(found, 1)  # 0 would not block
            yield answer

    async def _read(self, path: str, params: Mapping[str, str], index: int | None) -> Answer:
        query = {**self._datacenter, **params}
        timeout = None
        if index:
            query |= {"index": str(index), "wait": f"{WAIT_SECONDS}s"}
            timeout = WAIT_SECONDS + _GRACE
        elif index is not None:
            query["consistent"] = ""  # answered only by a leader that has read all of its log
        answer = await self.ask("GET", path, params=query, timeout=timeout)
        if answer.status not in (200, 404):
            raise self.trouble(answer)
        return answer

    async def check_service(self, service: str, answer: Answer) -> None:
        """Find out about an answer without instances whether there are none, or the token may not see them.

        Raises:
            SourceError: It may not. Consul itself leaves out in silence what a token may not read.
        """
        hidden = answer.headers.get(_FILTERED, "").lower() == "true"  # from Consul 1.12 on
        if not hidden:
            question = [{"Resource": "service", "Access": "read", "Segment": service}]
            verdict = await self._http.request("POST", _AUTHORIZE, json=question, headers=self._headers())
            hidden = verdict.status == 200 and _denied(verdict.json())
        if hidden:
            raise self.forbidden(f"it may not read the service {service} and its nodes")

    def _index(self, answer: Answer) -> int:
        """The mark of an answer; without one there is nothing to wait on."""
        try:
            return int(answer.headers[_INDEX])
        except (KeyError, ValueError):
            told = f"the answer of {self._url.shown} (status {answer.status}) has no index"
            raise SourceError(f"{told}; check that it is Consul that listens there") from None

    def trouble(self, answer: Answer) -> SourceError:
        """An error for a status that should not be."""
        told = f"consul at {self._url.shown} answers {answer.status}"
        said = f" ({answer.shown})" if answer.shown else ""
        mend = {
            400: f"check {self._setting}",
            413: "the value is too large for it",
            429: "it has too much to do; it is tried again",
        }
        return SourceError(f"{told}{said}; {mend.get(answer.status, 'it is tried again')}")

    def forbidden(self, said: str) -> SourceError:
        """An error for what the token may not do."""
        held = "the token" if current_token(self._access, self._url.password) else "a request without a token"
        told = f"consul at {self._url.shown} refuses {held}: {said}"
        return SourceError(f"{told}; set {self._setting}_TOKEN to a token that may do this")

    def _headers(self) -> dict[str, str]:
        token = current_token(self._access, self._url.password)
        return {"x-consul-token": token} if token else {}


def _denied(verdicts: object) -> bool:
    """Whether one of them says no. The question is no part of the stable API, so anything else counts as yes."""
    listed = verdicts if isinstance(verdicts, list) else []
    return any(isinstance(verdict, dict) and verdict.get("Allow") is False for verdict in listed)
