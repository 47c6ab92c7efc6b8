"""What ``import graymw`` costs over a bare interpreter, and what it must not load.

python -m bench.import_time
"""

from __future__ import annotations

import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

from bench.harness import keep

_INSTALL = "import graymw; graymw.install(lambda environ, start: []"
CASES = {
    "bare interpreter": "pass",
    "import graymw": "import graymw",
    "graymw.bucket": "import graymw; graymw.bucket",
    "graymw.current": "import graymw; graymw.current",
    "graymw.install, settings given": _INSTALL + ", settings={'service': 'orders'})",
    "graymw.install, settings loaded": _INSTALL + ")",
    "opentelemetry-api": "import opentelemetry.trace, opentelemetry.baggage",
    "opentelemetry-sdk": "import opentelemetry.sdk.trace",
    "starlette": "import starlette.applications",
    "dynaconf": "import dynaconf",
    "common-expression-language": "import cel",
}


def main(rounds: int = 15) -> None:
    best = dict.fromkeys(CASES, float("inf"))
    for _ in range(rounds):
        for name, code in CASES.items():
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            best[name] = min(best[name], (time.perf_counter() - begin) * 1e3)
    bare = best["bare interpreter"]
    table = Table("import", "ms over bare", title=f"wall time, minimum of {rounds}; bare interpreter {bare:.1f} ms")
    for name, spent in best.items():
        table.add_row(name, f"{spent - bare:.1f}")
    Console().print(table)
    keep("import_time", {name: spent - bare for name, spent in best.items()})


if __name__ == "__main__":
    main()
