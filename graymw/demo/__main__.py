"""``python -m graymw.demo``, the same as ``graymw demo``."""

from __future__ import annotations

import argparse
import sys

from graymw.demo import DEFAULT_USERS, run_demo
from graymw.errors import MissingExtraError


def main() -> int:
    """Run with the options of the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="graymw demo", description="Show one decision travelling a chain of services."
    )
    parser.add_argument("--users", type=int, default=DEFAULT_USERS, help="how many users to measure the split on")
    parser.add_argument("--keep", action="store_true", help="leave the chain running until Ctrl-C")
    parser.add_argument("--json", action="store_true", dest="json_output", help="write the report as JSON")
    parser.add_argument("--jaeger", metavar="URL", help="where Jaeger's pages are, if not on port 16686 beside OTLP")
    options = parser.parse_args()
    if options.users < 1:
        parser.error("--users must be 1 or more")
    try:
        return run_demo(users=options.users, keep=options.keep, json_output=options.json_output, jaeger=options.jaeger)
    except MissingExtraError as error:
        parser.error(str(error))


if __name__ == "__main__":
    sys.exit(main())
