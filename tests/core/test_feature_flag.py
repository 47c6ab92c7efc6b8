"""Decisions in the words of OpenTelemetry's semantic conventions for feature flags."""

from __future__ import annotations

from typing import get_args

import pytest

from graymw.core.context import Decision, Reason
from graymw.core.feature_flag import feature_flag_attributes

# The values that the semantic conventions know (1.44).
KNOWN = {"static", "default", "targeting_match", "split", "cached", "disabled", "unknown", "stale", "error"}


@pytest.mark.parametrize("reason", get_args(Reason))
def test_every_reason_has_a_value_that_the_conventions_know(reason: Reason) -> None:
    attributes = feature_flag_attributes(Decision("checkout", "v2", reason), "orders")
    assert attributes["feature_flag.result.reason"] in KNOWN


def test_an_unknown_revision_is_left_out() -> None:
    attributes = feature_flag_attributes(Decision("checkout", "v2", "override"), "orders")
    assert "feature_flag.version" not in attributes
