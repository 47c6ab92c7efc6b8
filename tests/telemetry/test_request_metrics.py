"""The class of an answer, also where nothing was answered."""

from __future__ import annotations

import grpc
import pytest

from graymw.runtime.observing import Ending
from graymw.telemetry.request_metrics import status_class


def ending(status: int | None = None, rpc: str | None = None, error: str | None = None) -> Ending:
    return Ending(began=0, seconds=0.1, status=status, rpc_status=rpc, error=error, trace_id="")


@pytest.mark.parametrize(
    ("status", "told"), [(100, "1xx"), (204, "2xx"), (301, "3xx"), (499, "4xx"), (503, "5xx"), (999, "5xx")]
)
def test_an_answer_is_of_its_hundred(status: int, told: str) -> None:
    assert status_class(ending(status)) == told


def test_an_answer_that_broke_is_an_error_whatever_it_began_with() -> None:
    assert status_class(ending(200, error="ZeroDivisionError")) == "5xx"


@pytest.mark.parametrize("error", ["CancelledError", "GeneratorExit", "ClientDisconnect"])
def test_a_caller_who_left_is_no_error_of_the_application(error: str) -> None:
    assert status_class(ending(error=error)) == "4xx"
    assert status_class(ending(200, error=error)) == "2xx"


def test_an_application_that_answers_nothing_is_in_error() -> None:
    assert status_class(ending()) == "5xx"


SERVERS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}


@pytest.mark.parametrize("code", grpc.StatusCode)
def test_a_grpc_status_is_of_the_class_it_maps_to(code: grpc.StatusCode) -> None:
    """google.rpc.Code: which HTTP status each maps to."""
    told = "2xx" if code is grpc.StatusCode.OK else "5xx" if code.name in SERVERS else "4xx"
    assert status_class(ending(rpc=code.name, error="RpcError")) == told
