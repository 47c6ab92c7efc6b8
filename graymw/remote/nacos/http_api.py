"""Nacos' HTTP APIs: v3 where the server has it, else v1, which Nacos 2 speaks and Nacos 3.2 no longer does.

Facts: nacos.io, "Open API" of 2.x and 3.x; held against Nacos 2.2.4 and 3.1.0.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from graymw.errors import SourceError
from graymw.remote.http import Answer, HttpClient
from graymw.remote.nacos.credentials import Credentials, Memory
from graymw.remote.nacos.place import PUBLIC, NacosPlace
from graymw.settings.access import Access

_INSTANCE: Final = ("/nacos/v3/client/ns/instance", "/nacos/v1/ns/instance")
_LIST: Final = ("/nacos/v3/client/ns/instance/list", "/nacos/v1/ns/instance/list")
_BEAT: Final = ("/nacos/v3/client/ns/instance", "/nacos/v1/ns/instance/beat")
_CONFIG: Final = ("/nacos/v3/client/cs/config", "/nacos/v1/cs/configs")
_HISTORY: Final = ("/nacos/v3/admin/cs/history/list", "/nacos/v1/cs/history")
_LISTENER: Final = "/nacos/v1/cs/configs/listener"

_ALL_CLUSTERS: Final = ","
"""Without any, v3 takes ``DEFAULT`` to be meant; between commas, nothing but nothing."""

_NOT_FOUND: Final = 20004
_NO_SUCH_INSTANCE: Final = (21003, 20404)
"""Of Nacos 3 and of Nacos 2."""

_GRACE: Final = 10.0
_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration as it is now.

    Attributes:
        md5: Nacos' mark of this content.
        type: ``yaml``, ``json``, ``text`` …; empty where it was published without.
    """

    content: str
    md5: str
    type: str = ""


@dataclass(frozen=True, slots=True)
class Release:
    """One entry of the history that Nacos keeps of a configuration.

    Attributes:
        number: Its id.
        kind: ``I``, ``U`` or ``D``: inserted, updated, deleted.
        at: When, in seconds since the Unix epoch.
        who: Who did it; empty where nobody logged in.
    """

    number: str
    kind: str
    at: float
    who: str


class NacosHttp:
    """Nacos over HTTP; to be made and used in one event loop.

    Args:
        place: Which servers, namespace and group.
        access: Credentials, and certificates for TLS.
        memory: What earlier connections found out.

    Raises:
        MissingExtraError: The HTTP library is not installed.
        SourceError: A certificate cannot be used.
    """

    def __init__(self, place: NacosPlace, access: Access, memory: Memory) -> None:
        self._place = place
        self._http = HttpClient(place.url.base_urls, access, backend="nacos")
        self.credentials = Credentials(place, access, self._http, memory)
        self._memory = memory

    async def instances(self, service: str, cluster: str) -> Sequence[Mapping[str, Any]]:
        """Instances of a service, with their health.

        Raises:
            SourceError: They cannot be had now.
        """
        answer = await self._naming(
            "GET", _LIST, service, {"clusterName": cluster or _ALL_CLUSTERS}, {"clusters": cluster}
        )
        told = _told(answer)
        found = told.get("data", told.get("hosts"))
        if not isinstance(found, list):
            raise self._trouble(answer)
        return found

    async def register(self, service: str, fields: Mapping[str, str]) -> None:
        """Register an ephemeral instance, or change it.

        Args:
            fields: ``ip``, ``port``, ``weight``, ``clusterName``, ``metadata``.

        Raises:
            SourceError: The server cannot be reached, or refuses.
        """
        self._check(await self._naming("POST", _INSTANCE, service, fields))

    async def beat(self, service: str, fields: Mapping[str, str]) -> bool:
        """Keep an instance alive; False where the server does not know it.

        Args:
            fields: ``ip``, ``port``, ``clusterName``.

        Raises:
            SourceError: The server cannot be reached, or refuses.
        """
        if await self.is_v3():
            answer = await self._naming("POST", _BEAT, service, {**fields, "heartBeat": "true"})
        else:
            answer = await self._naming("PUT", _BEAT, service, fields)
        if _told(answer).get("code") in _NO_SUCH_INSTANCE:
            return False
        self._check(answer)
        return True

    async def deregister(self, service: str, fields: Mapping[str, str]) -> None:
        """Take an instance out; no error where it is out already.

        Args:
            fields: ``ip``, ``port``, ``clusterName``.

        Raises:
            SourceError: The server cannot be reached, or refuses.
        """
        self._check(await self._naming("DELETE", _INSTANCE, service, fields))

    async def config(self, data_id: str) -> Config | None:
        """A configuration; None where there is none.

        Raises:
            SourceError: It cannot be had now.
        """
        v3 = {"dataId": data_id, "groupName": self._place.group, "namespaceId": self._place.namespace}
        v1 = {"dataId": data_id, "group": self._place.group, "tenant": self._tenant}
        signed = self.credentials.config_signature(self._place.namespace, self._place.group)
        answer = await self._send("GET", _CONFIG, v3, v1, signed)
        told = _told(answer) if self._memory.speaks_v3 else {}
        if answer.status == 404 or told.get("code") == _NOT_FOUND:
            return None
        self._check(answer)
        if not self._memory.speaks_v3:
            headers = answer.headers
            return Config(answer.text, headers.get("content-md5", ""), headers.get("config-type", ""))
        data = told.get("data")
        if not isinstance(data, dict) or not isinstance(data.get("content"), str):
            raise self._trouble(answer)
        return Config(data["content"], str(data.get("md5") or ""), str(data.get("contentType") or ""))

    async def can_wait(self) -> bool:
        """Whether the server can hold a request until a configuration has changed, which only v1 does."""
        return not await self.is_v3()

    async def wait_for_config(self, data_id: str, md5: str, *, seconds: float) -> None:
        """Wait until a configuration may have changed, or the time is over.

        Raises:
            SourceError: The server cannot be asked.
        """
        key = "\x02".join(part for part in (data_id, self._place.group, md5, self._tenant))
        headers = {"Long-Pulling-Timeout": str(int(seconds * 1000))}
        signed = self.credentials.config_signature(self._place.namespace, self._place.group)
        form = {"Listening-Configs": key.removesuffix("\x02") + "\x01"}
        self._check(await self._asked("POST", _LISTENER, signed, data=form, headers=headers, timeout=seconds + _GRACE))

    async def releases(self, data_id: str, limit: int) -> list[Release]:
        """Entries of a configuration's history, newest first.

        Raises:
            SourceError: They cannot be had now, or the user may not read them.
        """
        found: list[Release] = []
        for page in itertools.count(1):
            paging = {"pageNo": str(page), "pageSize": str(_PAGE)}
            told = _told(await self._history(_HISTORY, data_id, paging, {**paging, "search": "accurate"}))
            listed = (told.get("data") or told).get("pageItems") or []
            found += [_release(entry) for entry in listed]
            if len(listed) < _PAGE or len(found) >= limit:
                break
        return found[:limit]

    async def replaced_by(self, data_id: str, release: Release) -> str | None:
        """What stood there before an entry of the history; None where nothing did.

        Raises:
            SourceError: It cannot be had now.
        """
        if release.kind not in ("U", "D"):
            return None
        entry = {"nid": release.number}
        told = _told(await self._history((_HISTORY[0].removesuffix("/list"), _HISTORY[1]), data_id, entry, entry))
        content = (told.get("data") or told).get("content")
        return content if isinstance(content, str) else None

    async def _history(
        self, paths: tuple[str, str], data_id: str, v3_fields: Mapping[str, str], v1_fields: Mapping[str, str]
    ) -> Answer:
        v3 = {**v3_fields, "dataId": data_id, "groupName": self._place.group, "namespaceId": self._place.namespace}
        v1 = {**v1_fields, "dataId": data_id, "group": self._place.group, "tenant": self._tenant}
        signed = self.credentials.config_signature(self._place.namespace, self._place.group)
        answer = await self._send("GET", paths, v3, v1, signed)
        self._check(answer)
        return answer

    async def is_v3(self) -> bool:
        """Whether the server speaks v3; asks it where that is not known yet.

        Raises:
            SourceError: It cannot be asked.
        """
        if self._memory.speaks_v3 is None:
            answer = await self._asked("GET", _LIST[0], {}, params={"serviceName": "graymw"})
            self._memory.speaks_v3 = not _is_unknown_path(answer)
        return self._memory.speaks_v3

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()

    @property
    def _tenant(self) -> str:
        """The namespace as v1 and configurations name it."""
        return "" if self._place.namespace == PUBLIC else self._place.namespace

    async def _naming(
        self,
        method: str,
        paths: tuple[str, str],
        service: str,
        fields: Mapping[str, str],
        v1_fields: Mapping[str, str] | None = None,
    ) -> Answer:
        place = self._place
        v3 = {**fields, "namespaceId": place.namespace, "groupName": place.group, "serviceName": service}
        v1 = {**(fields if v1_fields is None else v1_fields), "namespaceId": place.namespace}
        v1["serviceName"] = f"{place.group}@@{service}"
        return await self._send(method, paths, v3, v1, self.credentials.naming_signature(place.group, service))

    async def _send(
        self,
        method: str,
        paths: tuple[str, str],
        v3: Mapping[str, str],
        v1: Mapping[str, str],
        signed: Mapping[str, str],
    ) -> Answer:
        is_v3 = await self.is_v3()
        fields = {key: value for key, value in (v3 if is_v3 else v1).items() if value}
        path = paths[0] if is_v3 else paths[1]
        if method == "POST":
            return await self._asked(method, path, signed, data=fields)
        return await self._asked(method, path, signed, params=fields)

    async def _asked(self, method: str, path: str, signed: Mapping[str, str], **body: Any) -> Answer:
        own = body.pop("headers", {})
        for _ in range(2):
            token = await self.credentials.token()
            headers = {**own, **await self.credentials.http_headers(signed)}
            answer = await self._http.request(method, path, headers=headers, **body)
            if answer.status not in (401, 403):
                return answer
            if not self.credentials.forget(token):
                break
        raise SourceError(
            f"nacos at {self._place.url.shown} refuses the request ({answer.shown}); {self.credentials.refusal_mend}"
        )

    def _check(self, answer: Answer) -> None:
        code = _told(answer).get("code", 0)
        if answer.status != 200 or code not in (0, 200, 10200):
            raise self._trouble(answer)

    def _trouble(self, answer: Answer) -> SourceError:
        self._memory.speaks_v3 = None  # it may be another Nacos by now
        setting = self._place.setting
        mend = f"check {setting}" if 400 <= answer.status < 500 else "it is tried again"
        return SourceError(f"nacos at {self._place.url.shown} answers {answer.status} ({answer.shown}); {mend}")


def _told(answer: Answer) -> Mapping[str, Any]:
    """An answer as the object that it may be."""
    try:
        told = json.loads(answer.content)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _release(entry: Mapping[str, Any]) -> Release:
    """Nacos 3 writes times as milliseconds, Nacos 2 as text."""
    at = 0.0
    written = entry.get("modifyTime", entry.get("lastModifiedTime"))
    with contextlib.suppress(ValueError, TypeError):
        at = written / 1000 if isinstance(written, int) else datetime.fromisoformat(str(written)).timestamp()
    kind = str(entry.get("opType") or "").strip()
    return Release(str(entry.get("id", "")), kind, at, str(entry.get("srcUser") or ""))


def _is_unknown_path(answer: Answer) -> bool:
    """Whether nobody serves that path, rather than that nothing is found there."""
    return answer.status in (404, 405, 501) and "code" not in _told(answer)
