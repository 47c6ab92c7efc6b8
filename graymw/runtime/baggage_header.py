"""The one ``baggage`` header of a call: our members where the host may have them, then the application's."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.context.context import Context

from graymw.core.carrying import wire
from graymw.core.carrying.application_baggage import encode_application
from graymw.core.context import SIGNATURE_KEY
from graymw.runtime.current import BAGGAGE_KEY, Carried
from graymw.runtime.engine import Engine


def baggage_value(
    engine: Engine, ambient: Context, carried: Carried | None, present: str | None, *, allowed: bool, limit: int
) -> str:
    """Value of the one ``baggage`` header: gray members first where the host may have them, then the application's.

    Gray members that the application wrote itself count only where the work at hand has no decision of its own.
    """
    entries = ambient.get(BAGGAGE_KEY)
    raw = carried.application if carried is not None else ""
    if carried is not None and entries is carried.baggage and not raw:
        application = ""  # nobody added to what is ours alone
    else:
        application = encode_application(entries, raw) if isinstance(entries, Mapping) and entries else ""
    gray = ""
    if present:
        gray, theirs = wire.separate((present,))
        application = _united(theirs, application)
    if not allowed:
        return wire.compose("", application, limit=limit)
    if carried is not None and carried.gray:
        gray = carried.gray.wire
        if engine.signer is not None:
            gray = f"{gray},{SIGNATURE_KEY}={engine.signer.signature(gray, engine.clock())}"
    return wire.compose(gray, application, limit=limit) if application else gray


def _united(present: str, application: str) -> str:
    """The members of a header that is there already come first; the context adds what it lacks."""
    if not present or not application:
        return present or application
    keys = {member.partition("=")[0].strip() for member in present.split(",")}
    added = [member for member in application.split(",") if member.partition("=")[0].strip() not in keys]
    return ",".join([present, *added])
