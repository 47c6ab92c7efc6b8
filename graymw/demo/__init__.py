"""The demo: a real chain of services on loopback, shown to keep one decision for each request.

Everything heavy is loaded when the demo runs, not when this is imported.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from typing import Final

from graymw.errors import MissingExtraError

DEFAULT_USERS: Final = 300
_NEEDED: Final = ("fastapi", "uvicorn", "flask", "gunicorn", "httpx", "requests")
_INTERRUPTED: Final = 130


def run_demo(
    *,
    users: int = DEFAULT_USERS,
    keep: bool = False,
    json_output: bool = False,
    jaeger: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> int:
    """Run the demo and print its account.

    Args:
        users: How many users the split is measured on, besides a small cast; at least 1.
        keep: Leave the chain running afterwards, until Ctrl-C.
        json_output: Write the report as JSON to standard output, and nothing else.
        jaeger: URL of Jaeger's pages; default: the usual port of the host that the environment's OTLP endpoint names.
        environ: The environment of the services, where a user's own OTLP endpoint may be named too; default: the
            process's.

    Returns:
        Exit code: 0 where everything held, 1 where something did not, 128 + signal where it was interrupted.

    Raises:
        MissingExtraError: A library of the extra ``demo`` is not installed.
        ValueError: ``users`` is below 1.
    """
    for library in _NEEDED:
        if importlib.util.find_spec(library) is None:
            raise MissingExtraError(library, "demo")
    if users < 1:
        raise ValueError("users must be 1 or more")
    try:
        from graymw.demo.run import run  # noqa: PLC0415 - everything heavy hangs on it
    except KeyboardInterrupt:
        return _INTERRUPTED
    return run(
        users=users,
        keep=keep,
        json_output=json_output,
        jaeger=jaeger,
        environ=os.environ if environ is None else environ,
    )
