"""Samplers that the environment names: ours for OpenTelemetry's set-up, and any for a provider that we set up."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Final

from opentelemetry.sdk.trace.sampling import Sampler

from graymw.runtime import counters
from graymw.telemetry.sampler import GraySampler

log = logging.getLogger("graymw.telemetry")

NAME: Final = "OTEL_TRACES_SAMPLER"
ARGUMENT: Final = "OTEL_TRACES_SAMPLER_ARG"
EXAMPLE: Final = "gray=1.0,stable=0.05"

_GROUP: Final = "opentelemetry_traces_sampler"
_OF_THE_SDK: Final = frozenset(
    f"{prefix}{name}" for prefix in ("", "parentbased_") for name in ("always_on", "always_off", "traceidratio")
)


def sampler(argument: str | None = None) -> Sampler:
    """``OTEL_TRACES_SAMPLER=graymw``: gray traces are kept at their ratio though their caller dropped them."""
    return _made(argument, parent_based=False)


def parent_based_sampler(argument: str | None = None) -> Sampler:
    """``OTEL_TRACES_SAMPLER=parentbased_graymw``: a ratio for each, the caller respected."""
    return _made(argument, parent_based=True)


_OURS: Final[Mapping[str, Callable[[str | None], Sampler]]] = MappingProxyType(
    {"graymw": sampler, "parentbased_graymw": parent_based_sampler}
)


def _made(argument: str | None, *, parent_based: bool) -> Sampler:
    try:
        return GraySampler(**ratios(str(argument or "")), parent_based=parent_based)
    except ValueError as error:
        _tell("every trace is kept, as %s=%s cannot be used: %s; write it like %s", ARGUMENT, argument, error, EXAMPLE)
        return GraySampler(1.0, 1.0, parent_based=parent_based)


def ratios(argument: str) -> dict[str, float]:
    """Ratios of ``gray=1.0,stable=0.05``; a bare number is the stable one, as for OpenTelemetry's ``traceidratio``.

    Raises:
        ValueError: It is nothing of the kind.
    """
    read: dict[str, float] = {}
    for part in filter(None, map(str.strip, argument.split(","))):
        name, equals, value = map(str.strip, part.partition("="))
        if not equals:
            name, value = "stable", name
        if name not in ("gray", "stable"):
            raise ValueError(f"there is no ratio {name!r}")
        if name in read:
            raise ValueError(f"the ratio {name!r} is given twice")
        read[name] = _ratio(value)
    return read


def _ratio(text: str) -> float:
    try:
        ratio = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise ValueError(f"{text!r} is no number from 0 to 1")
    return ratio


def from_environment(environ: Mapping[str, str] = os.environ, *, asked: bool = False) -> Sampler | None:
    """Sampler for a provider that we set up; None where the SDK knows the one that is named, or nobody does.

    The SDK itself takes samplers of others only where ``opentelemetry-instrument`` configures it.

    Args:
        asked: Our settings ask for ratios, so ours is taken where none is named.
    """
    name = environ.get(NAME, "").strip().lower()
    if asked and not name:
        return parent_based_sampler()
    if not name or name in _OF_THE_SDK:
        return None
    try:
        factory = _OURS.get(name) or _registered(name)
        made = factory(environ.get(ARGUMENT)) if factory is not None else None
    except Exception as error:  # noqa: BLE001 - a vendor's sampler may fail in any way
        _tell("the sampler %r cannot be used: %r", name, error)
        return None
    return made if isinstance(made, Sampler) else None


def _registered(name: str) -> Callable[[str | None], object] | None:
    """What some installed distribution registers for OpenTelemetry."""
    for entry in entry_points(group=_GROUP, name=name):
        factory: Callable[[str | None], object] = entry.load()
        return factory
    return None


def _tell(message: str, *args: object) -> None:
    counters.count("telemetry.sampler")
    counters.once(log, f"sampler:{message}:{args}", logging.WARNING, message, *args)
