"""A decision in the words of OpenTelemetry's semantic conventions for feature flags.

Source: semantic conventions 1.44, "feature flags" (release candidate). A release is the flag, a version its variant.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from graymw.core.context import Decision, Reason

PROVIDER: Final = "graymw"

_REASONS: Final[Mapping[Reason, str]] = MappingProxyType(
    {
        "match": "targeting_match",
        "split": "split",
        "default": "default",
        "inherited": "cached",
        "override": "static",
        "disabled": "disabled",
        "error": "error",
    }
)


def feature_flag_attributes(decision: Decision, service: str) -> dict[str, str | bool]:
    """``feature_flag.*`` of one decision.

    Args:
        service: Logical name of this process, whose flags these are.
    """
    attributes: dict[str, str | bool] = {
        "feature_flag.key": decision.release,
        "feature_flag.result.variant": decision.version,
        "feature_flag.result.reason": _REASONS[decision.reason],
        "feature_flag.provider.name": PROVIDER,
        "feature_flag.set.id": service,
    }
    if decision.revision:
        attributes["feature_flag.version"] = decision.revision
    return attributes
