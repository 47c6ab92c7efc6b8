"""What work is recognised by where the balancer is ``sticky``: equal keys meet the same instance."""

from __future__ import annotations

from typing import Final

from opentelemetry import trace
from opentelemetry.context.context import Context

from graymw.core.model import Fact, RuleDocument, StickyKey
from graymw.core.sticking import present_key
from graymw.runtime.current import Carried

_UNGOVERNED: Final = (StickyKey(Fact("user")),)


def sticky_key(document: RuleDocument, service: str, carried: Carried | None, ambient: Context) -> str | None:
    """Key of the work at hand for calls to a service; None where it has none.

    What the release of the service calls sticky, as far as this process's own request tells it: keys do not travel, so
    hops find the same key where they get the same user, cookie or header. Then the user, then the trace.
    """
    facts = carried.facts if carried is not None else None
    if facts is not None:
        release = document.governing(service.lower())
        found = present_key(release.sticky if release is not None else _UNGOVERNED, facts)
        if found is not None:
            return found[1]
        if facts.issued or facts.user:
            return facts.issued or facts.user
    trace_id = trace.get_current_span(ambient).get_span_context().trace_id
    return f"{trace_id:032x}" if trace_id else None
