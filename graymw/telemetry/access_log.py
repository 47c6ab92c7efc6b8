"""One JSON line for each decided request: who decided what, by which rule, and whether it was honoured.

Off unless ``GRAYMW_ACCESS_LOG`` says where lines go. A request pays for putting together what is known; a thread of
ours makes it text and writes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from graymw.core.context import Decision
from graymw.runtime.admission import Admitted
from graymw.runtime.live_facts import LiveFacts
from graymw.runtime.observing import Ending, Finish
from graymw.settings.schema import Settings
from graymw.telemetry.recording import recorded_request


class Lines(Protocol):
    """Where lines go; never blocks."""

    def put(self, make: Callable[[], str]) -> None:
        """Write what ``make`` returns, later."""


class AccessLog:
    """Observer of requests; see ``graymw.runtime.observing``.

    Args:
        lines: Where they are written.
    """

    def __init__(self, settings: Settings, lines: Lines) -> None:
        self._settings = settings
        self._lines = lines

    def __call__(self, admitted: Admitted, facts: LiveFacts) -> Finish | None:
        """Remember what the application might change; None where nothing was decided."""
        if not admitted.gray:
            return None
        settings = self._settings
        method, path = facts.raw_method(), facts.raw_path()
        snapshot = admitted.snapshot
        recorded = recorded_request(facts, snapshot.rules.reads) if snapshot.settings.access_log_facts else None

        def finish(ending: Ending) -> None:
            self._lines.put(lambda: _text(settings, admitted, {"method": method, "path": path}, ending, recorded))

        return finish


def _text(
    settings: Settings,
    admitted: Admitted,
    asked: Mapping[str, str],
    ending: Ending,
    recorded: Mapping[str, Any] | None,
) -> str:
    gray = admitted.gray
    decision = gray.decisions.get(gray.primary) if gray.primary else None
    line: dict[str, Any] = {
        "time": datetime.fromtimestamp(ending.began, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        **asked,
        "status": ending.status,
        "rpc_status": ending.rpc_status,
        "error": ending.error,
        "duration_ms": round(ending.seconds * 1_000, 3),
        "service": settings.service,
        "served_version": settings.version or None,
        **(_told(decision) if decision is not None else {}),
        "honoured": admitted.snapshot.honoured(gray, settings.version),
        "revision": gray.revision,
        "context": gray.attributes["gray.context"],
        "trace_id": ending.trace_id or None,
    }
    others = {name: _told(each) for name, each in gray.decisions.items() if each is not decision}
    if others:
        line["others"] = others
    if recorded is not None:
        line["request"] = recorded
    return json.dumps({name: value for name, value in line.items() if value is not None}, separators=(",", ":"))


def _told(decision: Decision) -> dict[str, Any]:
    inherited = decision.reason == "inherited"
    told = {
        "release": decision.release,
        "version": decision.version,
        "gray": decision.is_gray,
        "decided_by": "caller" if inherited else "here",
        "reason": decision.reason,
        "rule": decision.rule,
    }
    return {name: value for name, value in told.items() if value is not None}
