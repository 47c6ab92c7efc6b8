"""TOML text to a tree (TOML 1.0)."""

from __future__ import annotations

import re
import tomllib

from graymw.core.document import plain_values, toml_lines
from graymw.core.document.tree import Node, Problems

_LINE = re.compile(r"\(at line (\d+), column \d+\)")
# tomllib takes quadratic time for a dotted key, so a long one is refused before it is read.
_KEY_PART = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+"""
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_KEY_PART}){{33}}")


def read(text: str, problems: Problems) -> Node | None:
    """Tree of a TOML text, None where its syntax is broken; reports every problem found."""
    long_key = _LONG_KEY.search(text)
    if long_key is not None:
        line = text.count("\n", 0, long_key.start()) + 1
        problems.add("", "a dotted key of more than 32 parts", "use tables", line=line, order=long_key.start())
        return None
    try:
        values = tomllib.loads(text, parse_float=plain_values.WrittenFloat)
    except tomllib.TOMLDecodeError as error:
        told = str(error)
        found = _LINE.search(told)
        line_of_error = int(found.group(1)) if found else text.count("\n") + 1
        problems.add(
            "",
            f"not TOML: {_LINE.sub('', told).strip()}",
            "check quotes, brackets and doubled keys",
            line=line_of_error,
        )
        return None
    except (RecursionError, ValueError) as error:
        # Nested arrays recurse in tomllib; an integer of thousands of digits is a ValueError.
        told = "nested too deeply" if isinstance(error, RecursionError) else "a number or date is out of range"
        problems.add("", f"not TOML: {told}", "flatten the document" if told[0] == "n" else "write it in quotes")
        return None
    return plain_values.read(values, problems, toml_lines.lines_of(text))
