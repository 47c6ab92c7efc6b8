from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from graymw.cli import demo

from .calling import Call


class Runs(list[dict[str, Any]]):
    def __call__(self, **options: Any) -> int:
        self.append(options)
        return 1


def test_the_options_reach_the_demo_and_its_exit_code_comes_back(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Runs()
    monkeypatch.setattr(demo, "run_demo", runs)
    assert call("demo").code == 1
    assert call("demo", "--users", 20, "--keep", "--json", "--jaeger", "http://j").code == 1
    assert runs == [
        {"users": demo.DEFAULT_USERS, "keep": False, "json_output": False, "jaeger": None},
        {"users": 20, "keep": True, "json_output": True, "jaeger": "http://j"},
    ]


def test_missing_packages_name_the_command_that_brings_them(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gunicorn" else found(name))
    outcome = call("demo")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "graymw: gunicorn is not installed: pip install 'graymw[demo]'\n"


def test_a_demo_without_users_is_wrong_use(call: Call) -> None:
    outcome = call("demo", "--users", 0)
    assert outcome.code == 2
    assert "--users" in outcome.err
