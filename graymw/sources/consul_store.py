"""The rule document in a key of Consul, written with its history in one transaction."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
import zlib
from typing import Any, Final
from urllib.parse import quote

from graymw.errors import ConflictError, SourceError
from graymw.remote.consul import ConsulClient
from graymw.remote.http import Answer
from graymw.remote.loop_bound import LoopBound
from graymw.runtime.ports import Change, Fetched
from graymw.settings.access import Access
from graymw.sources.consul import SETTING, ConsulSource, path_of
from graymw.sources.packing import change_told

KEPT_CHANGES: Final = 200
"""Changes that the history keeps."""

MAX_REQUEST: Final = 512 * 1024
"""Bytes of a transaction that Consul takes, unless its ``limits.txn_max_req_len`` says otherwise."""

_PLAIN_BYTES: Final = 64 * 1024
"""Longer changes are compressed, so that document and history fit into one transaction."""

_MAX_CHANGE: Final = 16 * 1024 * 1024
_DROPPED_AT_ONCE: Final = 32
_READ_AT_ONCE: Final = 8


class ConsulStore:
    """A rule document in a key of Consul that can be written.

    The history stands below ``KEY.history/``: a key for each change, numbered. The token needs ``write`` for the prefix
    ``KEY``.

    Args:
        url: As for ``ConsulSource``.
        access: Token and certificates.

    Raises:
        SettingsError: The URL is no such URL.
        MissingExtraError: The HTTP library is not installed.
    """

    def __init__(self, url: str, access: Access) -> None:
        self._source = ConsulSource(url, access)
        self._key = self._source.url.path
        self._folder = f"{self._key}.history/"
        self._client = LoopBound(lambda: ConsulClient(self._source.url, access, setting=SETTING))

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return self._source.name

    async def read(self) -> Fetched:
        """The document as it is now; its ``version`` is the key's ``ModifyIndex``.

        Raises:
            SourceError: Consul cannot be asked now, or the token may not read the key.
        """
        answer = await self._client.get().read(path_of(self._key), {"consistent": ""})
        return self._source.fetched(answer)

    async def write(self, change: Change, *, expected: str) -> None:
        """Put a document in the place of the one that was read, and the change into the history, both or neither.

        Raises:
            ConflictError: Somebody else has written meanwhile; nothing was changed.
            SourceError: Consul cannot be reached now, or refuses.
        """
        kept = await self._kept()
        last = _number(kept[-1], self._folder) if kept else 0
        surplus = kept[: max(0, len(kept) - KEPT_CHANGES + 1)][:_DROPPED_AT_ONCE]
        operations = [
            _operation("cas", self._key, change.text.encode(), int(expected or 0)),  # 0: only where there is none
            _operation("cas", f"{self._folder}{last + 1:012}", _packed(change), 0),
            *({"KV": {"Verb": "delete", "Key": key}} for key in surplus),
        ]
        body = json.dumps(operations).encode()
        try:
            answer = await self._client.get().submit("/v1/txn", body)
        except SourceError as error:
            if len(body) > MAX_REQUEST:  # it stops reading, so that its refusal is not always heard
                raise SourceError(self._too_large(body)) from error
            raise
        if answer.status == 413:
            raise SourceError(self._too_large(body))
        if answer.status == 409:
            raise self._refused(answer)
        if answer.status != 200:
            raise self._client.get().trouble(answer)

    async def history(self, limit: int) -> list[Change]:
        """The last changes, newest first.

        Raises:
            SourceError: Consul cannot be asked now.
        """
        keys = (await self._kept())[: -limit - 1 : -1]
        at_once = asyncio.Semaphore(_READ_AT_ONCE)

        async def read(key: str) -> Change | None:
            async with at_once:
                answer = await self._client.get().read(path_of(key), {"raw": ""})
            return _unpacked(answer.content) if answer.status == 200 else None

        found = await asyncio.gather(*map(read, keys))
        return [change for change in found if change is not None]

    async def close(self) -> None:
        """Let go of connections."""
        client = self._client.take()
        if client is not None:
            await client.close()

    async def _kept(self) -> list[str]:
        """Keys of the history, oldest first."""
        path = f"/v1/kv/{quote(self._folder, safe='/')}"
        answer = await self._client.get().read(path, {"keys": ""})
        listed = answer.json() if answer.status == 200 else []
        return sorted((key for key in listed if _number(key, self._folder)), key=lambda key: _number(key, self._folder))

    def _refused(self, answer: Answer) -> SourceError:
        """What the errors of a transaction mean."""
        errors = answer.json().get("Errors") or []
        told = "; ".join(dict.fromkeys(str(error.get("What")) for error in errors))
        if "ermission denied" in told:
            return self._client.get().forbidden(told)
        return ConflictError(f"{self.name} has changed meanwhile ({told}); read it again")

    def _too_large(self, body: bytes) -> str:
        size = f"the document and its history take {len(body)} bytes of at most {MAX_REQUEST} in one write"
        return f"{self.name}: {size}; shorten the document, or raise limits.txn_max_req_len of Consul"


def _operation(verb: str, key: str, value: bytes, index: int) -> dict[str, Any]:
    return {"KV": {"Verb": verb, "Key": key, "Value": base64.b64encode(value).decode(), "Index": index}}


def _number(key: str, folder: str) -> int:
    """Place of a key in the history; 0 for one that is no part of it."""
    number = key.removeprefix(folder)
    return int(number) if number.isascii() and number.isdecimal() else 0


def _packed(change: Change) -> bytes:
    plain = json.dumps(dataclasses.asdict(change), ensure_ascii=False).encode()
    return plain if len(plain) <= _PLAIN_BYTES else zlib.compress(plain, 9)


def _unpacked(content: bytes) -> Change | None:
    """A change; None for what another hand has put there."""
    with contextlib.suppress(ValueError, RecursionError, zlib.error):
        plain = content if content.startswith(b"{") else zlib.decompressobj().decompress(content, _MAX_CHANGE)
        return change_told(plain)
    return None
