"""``graymw demo``: a chain of services on loopback."""

from __future__ import annotations

from typing import Annotated

import typer

from graymw.cli.options import JsonOption
from graymw.demo import DEFAULT_USERS, run_demo


def command(
    users: Annotated[int, typer.Option("--users", min=1, help="How many users the split is measured on.")] = (
        DEFAULT_USERS
    ),
    keep: Annotated[bool, typer.Option("--keep", help="Leave the chain up afterwards, until Ctrl-C.")] = False,
    jaeger: Annotated[
        str | None,
        typer.Option("--jaeger", metavar="URL", help="Where Jaeger's pages are, if not on port 16686 beside OTLP."),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Run a chain of services on this machine and watch a gray release at work.

    Sends requests of several users through five processes, changes the rules meanwhile, and shows who was served
    which version, why, and one request's trace. Exit code 1 where something did not hold.
    """
    return run_demo(users=users, keep=keep, json_output=as_json, jaeger=jaeger)
