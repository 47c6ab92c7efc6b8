"""``graymw status`` over a fleet, with a real registry and processes that register."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from real_etcd import PROGRAMS, Etcd
from serving import free_port, serving
from waiting import eventually

REGISTERED = Path(__file__).parents[1] / "support" / "registered.py"
RULES = "schema: 1\nreleases:\n  checkout:\n    services: [orders]\n    stable: v1\n"


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Etcd]:
    server = Etcd(PROGRAMS["3.4"](), tmp_path).start()
    yield server
    server.stop()


def status(environ: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "graymw", "status", "--json"]
    done = subprocess.run(command, env=environ, capture_output=True, check=False, text=True, timeout=60)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_instance_tells_its_revision_and_two_are_a_problem(
    etcd: Etcd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = {"GRAYMW_REGISTRY": f"etcd://127.0.0.1:{etcd.port}", "GRAYMW_STATE_DIR": str(tmp_path / "state")}
    rules = [tmp_path / "one.yaml", tmp_path / "two.yaml"]
    ports = [free_port(), free_port()]
    here = {**common, "PATH": "/usr/bin:/bin", "GRAYMW_RULES": str(rules[0])}
    with ExitStack() as running:
        for path, port, version in zip(rules, ports, ("v1", "v2"), strict=True):
            path.write_text(RULES)
            own = {"GRAYMW_SERVICE": "orders", "GRAYMW_VERSION": version, "GRAYMW_ZONE": "a"}
            environ = {**common, **own, "GRAYMW_REGISTER": "true", "GRAYMW_RULES": str(path)}
            running.enter_context(serving(["python", str(REGISTERED), str(port)], environ, tmp_path, port))
        eventually(lambda: len(status(here)["fleet"]) == 2, 30)
        found = status(here)
        one, two = sorted(found["fleet"], key=lambda each: str(each["version"]))
        assert (one["instance"], one["zone"], one["version"]) == (f"127.0.0.1:{ports[0]}", "a", "v1")
        assert one["revision"] == two["revision"] == found["rules"]["revision"]
        rules[1].write_text(RULES.replace("v1", "v2"))
        eventually(lambda: any("2 revisions among the instances" in each for each in status(here)["problems"]), 30)


def test_a_registry_out_of_reach_is_a_problem_and_no_error(tmp_path: Path) -> None:
    here = {
        "GRAYMW_REGISTRY": f"etcd://127.0.0.1:{free_port()}",
        "GRAYMW_STATE_DIR": str(tmp_path),
        "PATH": "/usr/bin:/bin",
    }
    found = status(here)
    assert found["fleet"] == []
    assert any(each.startswith("the fleet cannot be seen: etcd at http://127.0.0.1:") for each in found["problems"])
