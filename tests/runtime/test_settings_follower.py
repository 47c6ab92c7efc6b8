"""Settings files that are edited while the process runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import waiting
from waiting import eventually

from graymw.runtime import counters, settings_follower
from graymw.runtime.settings_follower import SettingsFollower
from graymw.runtime.watching import WatchThread
from graymw.settings.loader import load_settings, settings_at
from graymw.settings.place import SettingsPlace
from graymw.settings.schema import Settings

BEGIN = "service: edge\ntrust: private\n"


class Followed:
    """A settings file, who follows it, and every set of settings that came into force."""

    def __init__(self, folder: Path, text: str = BEGIN, **variables: str) -> None:
        self.path = folder / "graymw.yaml"
        self.path.write_text(text)
        self.thread = WatchThread()
        self.adopted: list[Settings] = []
        settings = load_settings(environ=variables, directory=folder)
        self.follower = SettingsFollower(settings, on_change=self.adopted.append, thread=self.thread)
        self.follower.start()

    @property
    def now(self) -> Settings:
        return self.follower.settings

    def write(self, text: str) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.replace(self.path)

    def is_refused(self, told: str) -> None:
        eventually(lambda: told in self.follower.last_error)

    def stop(self) -> None:
        self.follower.stop()
        assert self.thread.stop()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_follower, "POLL_SECONDS", 0.02)


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[Followed]:
    followed = Followed(tmp_path)
    yield followed
    followed.stop()


def test_what_may_change_comes_into_force_at_once_and_together(
    followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "graymw.settings")
    followed.write("service: edge\ntrust: signed\nsecret: [0123456789abcdef]\nuser: header:x-uid\n")
    eventually(lambda: followed.adopted)
    (now,) = followed.adopted
    assert (now.trust, now.secret, str(now.user[0])) == ("signed", (b"0123456789abcdef",), "header:x-uid")
    assert counters.snapshot()["settings.changed"] == 1
    eventually(lambda: "have changed GRAYMW_USER, GRAYMW_TRUST, GRAYMW_SECRET" in caplog.text)
    assert "0123456789abcdef" not in caplog.text


def test_a_file_that_says_the_same_in_other_words_changes_nothing(followed: Followed) -> None:
    followed.write("# said anew\n" + BEGIN)
    followed.write("service: edge\nzone: b\n")
    eventually(lambda: followed.follower.waiting)
    assert followed.adopted == []


def test_what_needs_a_restart_is_told_once_in_one_sentence(
    followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    followed.write(BEGIN + "zone: b\nbalancer: random\n")
    eventually(lambda: followed.follower.waiting == ("GRAYMW_ZONE", "GRAYMW_BALANCER"))
    followed.write(BEGIN + "zone: c\nbalancer: random\nstrict: true\n")
    eventually(lambda: followed.now.strict)
    assert followed.now.zone == ""
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "changed in the settings files, but in force only after a restart of this process: GRAYMW_ZONE, GRAYMW_BALANCER"
    ]
    followed.write(BEGIN)
    eventually(lambda: followed.follower.waiting == ())


def test_a_file_with_faults_is_refused_as_a_whole_counted_and_told_once(
    followed: Followed, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def reading(place: SettingsPlace) -> Settings:
        read.append(followed.path.read_text())
        return settings_at(place)

    monkeypatch.setattr(settings_follower, "settings_at", reading)
    broken = "service: edge\ntrust: all\negres: .example.com\n"
    followed.write(broken)
    followed.is_refused("GRAYMW_EGRES: there is no such setting; did you mean GRAYMW_EGRESS?")
    for number in range(2):
        followed.write(f"{broken}# again {number}\n")
        eventually(lambda: read.count(followed.path.read_text()) >= 2)
    followed.write("service: edge\ntrust: all\n")
    eventually(lambda: followed.now.trust == "all")
    assert followed.follower.last_error == ""
    assert [now.trust for now in followed.adopted] == ["all"]
    assert caplog.text.count("the last good settings stay in force: GRAYMW_EGRES") == 1
    assert counters.snapshot()["settings.refused"] == 1


@pytest.mark.parametrize(
    "text",
    ["trust: [", "trust: nobody", "trust: signed", "services: 7", "- a\n", "services:\n  orders: x\n"],
)
def test_what_cannot_be_used_leaves_the_last_good_settings(followed: Followed, text: str) -> None:
    followed.write(text)
    eventually(lambda: followed.follower.last_error)
    assert followed.now.trust == "private"
    assert followed.adopted == []


@pytest.mark.parametrize("text", ["", " \n", "# everything commented out\n"])
def test_a_file_that_was_emptied_does_not_bring_the_defaults_back(tmp_path: Path, text: str) -> None:
    followed = Followed(tmp_path, "trust: none\n")
    try:
        followed.write(text)
        followed.is_refused("graymw.yaml: the settings file has no settings any more; put them back")
        assert followed.now.trust == "none"
    finally:
        followed.stop()


def test_a_file_that_was_empty_at_the_start_may_stay_so(tmp_path: Path) -> None:
    followed = Followed(tmp_path, "# nothing yet\n")
    try:
        followed.write("# nothing yet either\n")
        followed.write("trust: all\n")
        eventually(lambda: followed.now.trust == "all")
        assert "settings.refused" not in counters.snapshot()
    finally:
        followed.stop()


def test_a_file_that_is_gone_keeps_the_last_settings(followed: Followed) -> None:
    followed.path.unlink()
    followed.is_refused("graymw.yaml: the settings file is gone; put it back")
    assert followed.now.trust == "private"
    followed.write("trust: all\n")
    eventually(lambda: followed.now.trust == "all")
    assert followed.follower.last_error == ""


def test_a_directory_in_the_place_of_the_file_keeps_the_last_settings(followed: Followed) -> None:
    followed.path.unlink()
    followed.path.mkdir()
    followed.is_refused("a directory")
    assert followed.adopted == []


def test_a_local_twin_that_comes_later_counts(followed: Followed) -> None:
    followed.path.with_name("graymw.local.yaml").write_text("trust: all\n")
    eventually(lambda: followed.now.trust == "all")


def test_a_file_is_followed_where_it_was_found_wherever_the_process_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path.parent)
    followed = Followed(Path(tmp_path.name), "trust: none\n")
    monkeypatch.chdir(tmp_path)
    try:
        (tmp_path / "graymw.yaml").write_text("trust: all\n")
        eventually(lambda: followed.now.trust == "all")
        (tmp_path / "graymw.yaml").write_text("\n")
        followed.is_refused("no settings any more")
    finally:
        followed.stop()


def test_keys_in_a_secrets_file_can_be_rotated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    secrets = tmp_path / ".secrets.toml"
    secrets.write_text('graymw_secret = ["old-key-of-sixteen"]\n')
    followed = Followed(tmp_path, "trust: signed\n")
    try:
        secrets.write_text('graymw_secret = ["new-key-of-sixteen", "old-key-of-sixteen"]\n')
        eventually(lambda: followed.now.secret == (b"new-key-of-sixteen", b"old-key-of-sixteen"))
        secrets.write_text('graymw_secret = ["new-key-of-sixteen", "old-key\n')
        eventually(lambda: followed.follower.last_error)
        assert "key-of" not in caplog.text + followed.follower.last_error + repr(followed.now)
    finally:
        followed.stop()


def test_a_key_that_can_be_guessed_is_told_when_it_comes(followed: Followed, caplog: pytest.LogCaptureFixture) -> None:
    followed.write(BEGIN + "secret: abc\n")
    eventually(lambda: "a key is so short that it can be guessed" in caplog.text)


def test_variables_stand_above_the_file_as_at_the_start(tmp_path: Path) -> None:
    variables = {
        "GRAYMW_TRUST": "none",
        "GRAYMW_SERVICES__payments": '[{"url": "http://127.0.0.1:8003"}]',
        "OTEL_SERVICE_NAME": "edge",
    }
    followed = Followed(tmp_path, "trust: all\n", **variables)
    try:
        followed.write('trust: private\nstrict: true\nservices: {orders: [{url: "http://127.0.0.1:8001"}]}\n')
        eventually(lambda: followed.now.strict)
        assert (followed.now.trust, sorted(followed.now.services)) == ("none", ["orders", "payments"])
        assert followed.follower.waiting == ()
    finally:
        followed.stop()


def test_what_cannot_be_put_in_force_is_refused(tmp_path: Path) -> None:
    path, thread = tmp_path / "graymw.yaml", WatchThread()
    path.write_text(BEGIN)

    def refuse(settings: Settings) -> None:
        raise ValueError(settings.secret)

    follower = SettingsFollower(load_settings(environ={}, directory=tmp_path), on_change=refuse, thread=thread)
    follower.start()
    path.write_text(BEGIN + "secret: 0123456789abcdef\n")
    eventually(lambda: follower.last_error == "unforeseen ValueError")
    assert follower.settings.secret == ()
    follower.stop()
    assert thread.stop()


FORKING = """
import os, sys
from pathlib import Path
from waiting import eventually
from graymw.runtime.settings_follower import SettingsFollower
from graymw.settings.loader import load_settings

path = Path(sys.argv[1])
follower = SettingsFollower(load_settings(environ={}, directory=path.parent), on_change=lambda _: None)
follower.start()
child = os.fork()
if child == 0:
    eventually(lambda: follower.settings.trust == "all", 20)
    os._exit(0)
path.write_text("trust: all\\n")
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
eventually(lambda: follower.settings.trust == "all", 20)
"""


def test_a_forked_worker_follows_for_itself(tmp_path: Path) -> None:
    (tmp_path / "graymw.yaml").write_text(BEGIN)
    support = str(Path(waiting.__file__).parent)
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKING, str(tmp_path / "graymw.yaml")],
        env={**os.environ, "PYTHONPATH": support},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_nobody_watches_what_did_not_come_from_a_file(tmp_path: Path) -> None:
    thread = WatchThread()
    for settings in (
        load_settings(environ={"GRAYMW_TRUST": "all"}, directory=tmp_path),
        Settings.from_mapping({"trust": "all"}, environ={}),
    ):
        SettingsFollower(settings, on_change=lambda _: None, thread=thread).start()
        assert not thread.alive
