"""Rules for whoever decides without a server: scripts, tests, batch jobs."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from graymw.core.document import parse
from graymw.core.ruleset import RuleSet, compile_rules
from graymw.errors import SourceError


def load_rules(path_or_mapping: str | PathLike[str] | Mapping[str, object], *, service: str | None = None) -> RuleSet:
    """Read, check and compile a rule document.

    Args:
        path_or_mapping: A YAML, JSON or TOML file, or the document itself.
        service: Whose release ``version()`` means where none is named.

    Raises:
        RulesError: The document was refused; holds every problem with its path and mend.
        SourceError: The file cannot be read.
    """
    if isinstance(path_or_mapping, Mapping):
        document = parse(path_or_mapping)
    else:
        path = Path(path_or_mapping)
        try:
            text = path.read_bytes()
        except OSError as error:
            raise SourceError(f"{path}: {error.strerror or error}; give the path of a rule document") from error
        suffix = path.suffix.lower().lstrip(".")
        document = parse(text, format={"yml": "yaml"}.get(suffix, suffix or None), origin=str(path))
    return compile_rules(document, service=service, clock=time.time, entropy=lambda: secrets.token_urlsafe(16))
