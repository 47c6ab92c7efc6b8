"""``python -m graymw`` is the command ``graymw``."""

from __future__ import annotations

import sys

from graymw.cli.main import run

if __name__ == "__main__":
    sys.exit(run())
