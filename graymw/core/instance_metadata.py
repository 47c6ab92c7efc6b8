"""What registries keep beside an address, and what graymw reads of it (contract, §6).

The keys ``version``, ``weight``, ``zone``, ``gray`` and ``tls`` mean something to graymw; any other is kept as it is.
Registries are written by many hands, so what cannot be used is left out rather than refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from graymw.core import names
from graymw.core.instances import Instance

MAX_WEIGHT: Final = 10_000
"""Heaviest instance; a registry's heavier one counts as this heavy."""

_OWN: Final = ("version", "weight", "zone", "gray", "tls")
_IN_NO_LABEL: Final = re.compile(r"[^A-Za-z0-9._-]+")
_TRUE: Final = frozenset({"true", "1", "yes", "on"})


def instance_from_metadata(
    service: str,
    host: str,
    port: int,
    metadata: Mapping[str, object],
    *,
    weight: float | None = None,
    tls: bool = False,
) -> Instance:
    """An instance as a registry describes it.

    Args:
        service: Logical name, as the caller of the registry wrote it.
        host: Name or address; an IPv6 address without brackets.
        metadata: By key; values that are no text count as their text.
        weight: What the registry itself says of the weight; ``weight`` in the metadata wins over it.
        tls: Whether it is spoken to over TLS.
    """
    texts = {str(key): _text(value) for key, value in metadata.items() if value is not None}
    version = texts.get("version", "").strip()
    zone = texts.get("zone", "").strip()
    return Instance(
        service=service,
        host=host,
        port=port,
        version=_label(version),
        weight=_weight(texts.get("weight"), weight),
        zone=zone if zone.isprintable() and len(zone) <= names.MAX_TEXT else "",
        tls=tls or texts.get("tls", "").strip().lower() in _TRUE,
        gray=texts.get("gray", "").strip().lower() in _TRUE,
        metadata=MappingProxyType({key: value for key, value in texts.items() if key not in _OWN}),
    )


def metadata_of(instance: Instance) -> dict[str, str]:
    """Metadata to register an instance with: what ``instance_from_metadata`` reads back."""
    own = {
        "version": instance.version,
        "weight": str(instance.weight),
        "zone": instance.zone,
        "gray": "true" if instance.gray else "",
        "tls": "true" if instance.tls else "",
    }
    return {**instance.metadata, **{key: value for key, value in own.items() if value}}


def _text(value: object) -> str:
    try:
        return str(value).lower() if isinstance(value, bool) else str(value)
    except (ValueError, RecursionError):  # numbers and trees that are too long for it
        return ""


def _label(written: str) -> str:
    """A label that rules could name; another one than any proper label where it is none.

    No label would stand for the stable version, and whoever wrote this one meant another.
    """
    if not written or names.is_version(written):
        return written
    plain = _IN_NO_LABEL.sub("_", written[: names.MAX_TEXT])
    return (plain if plain[0].isalnum() else f"x{plain}")[:63] + "_"


def _weight(written: str | None, given: float | None) -> int:
    """A share as a whole number; a fraction above nothing counts as 1, as only 0 takes an instance out."""
    for candidate in (written, given):
        try:
            weight = float(candidate) if candidate is not None else math.nan
        except (ValueError, OverflowError):
            continue
        if math.isnan(weight) or weight < 0:
            continue
        return 0 if weight == 0 else max(1, round(min(weight, MAX_WEIGHT)))
    return 1
