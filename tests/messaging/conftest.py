from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from graymw.bootstrap import engine_for
from graymw.runtime.engine import Engine
from graymw.settings.schema import Settings


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., Engine]:
    """Makes this process an instance of ``orders``; keywords are settings, ``release`` changes the release."""

    def make(release: dict[str, object] | None = None, **settings: object) -> Engine:
        rules = {"schema": 1, "releases": {"checkout": {"stable": "v1", "rules": [], **(release or {})}}}
        path = tmp_path / "rules.json"
        path.write_text(json.dumps(rules))
        return engine_for(Settings.from_mapping({"service": "orders", "version": "v1", "rules": str(path), **settings}))

    return make
