from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from graymw.cli.main import run

from .calling import RULES, Call, Outcome


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """Runs a command as a user would, in an empty working directory, without a terminal."""
    monkeypatch.chdir(tmp_path)
    for name in ("COLUMNS", "LINES", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: Any, stdin: str = "") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The rule document that the contract shows."""
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path
