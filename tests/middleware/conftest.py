"""Settings and documents that the middleware tests share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

DOCUMENT: dict[str, Any] = {
    "schema": 1,
    "releases": {
        "checkout": {
            "services": ["edge", "orders", "payments"],
            "stable": "v1",
            "rules": [
                {"name": "testers", "match": {"header": {"x-gray-version": "true"}}, "use": "v2"},
                {"name": "even-uids", "when": "uid % 10 == 0", "use": "v2"},
            ],
        }
    },
}


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A rule file with one release: testers by header, every tenth user by id."""
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(DOCUMENT))
    return path


@pytest.fixture
def settings(rules: Path) -> dict[str, object]:
    """Settings of a service ``orders`` of version v1."""
    return {"service": "orders", "version": "v1", "rules": str(rules)}
