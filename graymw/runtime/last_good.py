"""The last good rule document on disk, so that a process starts while its rule source is down."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
from dataclasses import dataclass
from typing import Any, Final

from graymw.runtime import counters
from graymw.runtime.ports import DocumentFormat, Fetched
from graymw.runtime.state_dir import StateDir

log = logging.getLogger("graymw.state")

_FORMATS: Final[dict[str, DocumentFormat]] = {"yaml": "yaml", "json": "json", "toml": "toml"}


@dataclass(frozen=True, slots=True)
class Kept:
    """A document from the disk.

    Attributes:
        fetched: The document as its source held it.
        saved_at: When it was last taken from there; seconds since the Unix epoch.
    """

    fetched: Fetched
    saved_at: float


class LastGood:
    """The last good document of one service from one source. Nothing here raises: a full disk must not stop a change.

    Args:
        state: Where it lies; None: nothing is kept.
        service: Name of the service.
        source: Name of the source.
    """

    def __init__(self, state: StateDir | None, *, service: str, source: str) -> None:
        self._state = state
        self._source = source
        digest = hashlib.sha256(f"{service}\0{source}".encode()).hexdigest()[:12]
        self._name = f"last-good-{re.sub(r'[^A-Za-z0-9._-]', '_', service)[:64]}-{digest}.json"

    def save(self, fetched: Fetched, *, now: float) -> None:
        """Keep a document that was found good; one that lies there already is left as it is."""
        if self._state is None or fetched.text is None or not fetched.keep:
            return
        kept = self.load()
        if kept is not None and kept.fetched.text == fetched.text:
            return
        body: dict[str, object] = {"source": self._source, "format": fetched.format, "saved_at": now}
        body |= _written(fetched.text)
        try:
            self._state.write(self._name, json.dumps(body, ensure_ascii=False, indent=1).encode(), durable=True)
        except OSError as error:
            _failed("written", error)

    def load(self) -> Kept | None:
        """The document kept; None where there is none that can be read."""
        if self._state is None:
            return None
        try:
            content = self._state.read(self._name)
            if content is None:
                return None
            body: dict[str, Any] = json.loads(content)
            fetched = Fetched(_read(body), f"{self._source} (copy on disk)", _FORMATS.get(body["format"]))
            return Kept(fetched, float(body["saved_at"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            _failed("read", error)
            return None


def _written(text: str | bytes) -> dict[str, str]:
    if isinstance(text, str):
        return {"text": text}
    return {"base64": base64.b64encode(text).decode()}


def _read(body: dict[str, Any]) -> str | bytes:
    if "text" in body:
        return str(body["text"])
    return base64.b64decode(body["base64"])


def _failed(what: str, error: Exception) -> None:
    counters.count("state.error")
    told = f"last good:{what}:{error}"
    counters.once(log, told, logging.WARNING, "the last good rules could not be %s: %s", what, error)
