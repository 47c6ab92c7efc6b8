from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from graymw.cli import main
from graymw.errors import MissingExtraError, Problem, RulesError, SourceError

from .calling import Call


def in_a_process(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "graymw", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environ},
        timeout=60,
    )


class TestHelp:
    def test_help_names_every_command(self, call: Call) -> None:
        outcome = call("--help")
        assert outcome.code == 0
        for name in main.COMMANDS:
            assert re.search(rf"\b{name}\b", outcome.out)

    def test_without_a_command_one_is_helped(self, call: Call) -> None:
        outcome = call()
        assert outcome.code == 2
        assert "explain" in outcome.out

    @pytest.mark.parametrize("name", main.COMMANDS)
    def test_each_command_says_in_its_help_what_the_list_says(self, name: str) -> None:
        doc = importlib.import_module(f"graymw.cli.{name}").command.__doc__
        assert doc.splitlines()[0].split(",")[0].split(":")[0] in main.COMMANDS[name]

    @pytest.mark.parametrize("name", main.COMMANDS)
    def test_help_of_a_command_fits_into_80_columns(self, call: Call, name: str) -> None:
        outcome = call(name, "--help")
        assert outcome.code == 0
        assert f"graymw {name}" in outcome.out
        assert max(map(len, outcome.lines)) <= 80

    def test_help_loads_no_command_and_nothing_heavy(self) -> None:
        code = (
            "import sys; from graymw.cli.main import run; run(['--help'])\n"
            "heavy = {'yaml', 'dynaconf', 're2', 'opentelemetry', 'asyncio', 'xxhash', 'graymw.core.model'}\n"
            "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")


class TestEntry:
    def test_the_version_is_the_distribution_s(self, call: Call) -> None:
        outcome = call("--version")
        assert (outcome.code, outcome.out) == (0, f"graymw {version('graymw')}\n")

    def test_the_module_is_the_command(self) -> None:
        done = in_a_process("bucket", "checkout", "40")
        assert (done.returncode, done.stdout, done.stderr) == (0, "4650 40\n", "")

    def test_the_app_can_be_driven_by_typer_s_runner(self) -> None:
        runner = CliRunner()
        assert runner.invoke(main.app, ["bucket", "checkout", "40"]).stdout == "4650 40\n"
        assert runner.invoke(main.app, ["bucket"]).exit_code == 2


class TestWrongUse:
    @pytest.mark.parametrize(
        ("arguments", "path", "told"),
        [
            (["chek"], "graymw", "No such command 'chek'"),
            (["check", "--foo"], "graymw check", "No such option: --foo"),
            (["diff", "a", "b", "c"], "graymw diff", "unexpected extra argument"),
        ],
    )
    def test_it_is_told_in_one_line(self, call: Call, arguments: list[str], path: str, told: str) -> None:
        outcome = call(*arguments)
        assert (outcome.code, outcome.out) == (2, "")
        assert re.fullmatch(rf"{path}: .*{told}.*; see '{path} --help'\n", outcome.err)


class TestErrors:
    def failing(self, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
        def fail(*_: object) -> int:
            raise error

        monkeypatch.setattr("graymw.cli.bucket.bucket", fail)

    def test_what_graymw_raises_is_one_sentence(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failing(monkeypatch, SourceError("etcd://host cannot be reached"))
        outcome = call("bucket", "a", "b")
        assert (outcome.code, outcome.out, outcome.err) == (1, "", "graymw: etcd://host cannot be reached\n")

    def test_a_missing_library_names_the_command_that_brings_it(
        self, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.failing(monkeypatch, MissingExtraError("flask", "demo"))
        assert call("bucket", "a", "b").err == "graymw: flask is not installed: pip install 'graymw[demo]'\n"

    def test_problems_are_a_line_each(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failing(monkeypatch, RulesError([Problem("a", "b", "c", 3), Problem("d", "e", "f")], origin="x.yaml"))
        outcome = call("bucket", "a", "b")
        assert (outcome.code, outcome.err) == (1, "x.yaml:3: a: b; c\nx.yaml: d: e; f\n")

    def test_a_fault_of_ours_is_one_sentence_too(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failing(monkeypatch, ZeroDivisionError("oh"))
        outcome = call("bucket", "a", "b")
        assert outcome.code == 1
        assert outcome.err.count("\n") == 1
        assert "ZeroDivisionError: oh" in outcome.err

    def test_in_pythons_development_mode_a_fault_of_ours_shows_where(self) -> None:
        code = (
            "import graymw.cli.bucket as command; command.command = lambda: 1 / 0;"
            "from graymw.cli.main import run; run(['bucket'])"
        )
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, timeout=60, check=False
        )
        assert "Traceback" in done.stderr
        assert "ZeroDivisionError" in done.stderr

    def test_an_interruption_is_no_error_text(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failing(monkeypatch, KeyboardInterrupt())
        outcome = call("bucket", "a", "b")
        assert (outcome.code, outcome.out, outcome.err) == (130, "", "")

    def test_a_reader_that_has_seen_enough_is_no_error(self, rules: Path) -> None:
        keys = " ".join(map(str, range(20_000)))
        command = f"{sys.executable} -m graymw bucket checkout {keys} | head -1"
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
        assert (done.stdout, done.stderr) == ("9906 0\n", "")

    def test_a_terminal_that_knows_ascii_only_is_served_too(self, rules: Path) -> None:
        done = in_a_process("check", str(rules), PYTHONIOENCODING="ascii", LC_ALL="C")
        assert (done.returncode, done.stderr) == (0, "")
        assert "checkout" in done.stdout
