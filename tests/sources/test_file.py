from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from graymw.errors import SettingsError, SourceError
from graymw.runtime import local_file as file_module
from graymw.runtime.ports import Fetched
from graymw.sources.file import FileSource

DEADLINE = 5.0


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text("a")
    return path


class Watched:
    def __init__(self, source: FileSource) -> None:
        self._changes = source.watch()

    async def next(self) -> bytes | str | None:
        fetched: Fetched = await asyncio.wait_for(anext(self._changes), DEADLINE)
        return fetched.text

    async def nothing(self, seconds: float) -> None:
        """Nothing comes for a while; the watch goes on afterwards."""
        task = asyncio.ensure_future(anext(self._changes))
        done, _ = await asyncio.wait([task], timeout=seconds)
        assert not done
        task.cancel()


def watching(path: Path, steps: Callable[[Watched], Awaitable[None]]) -> None:
    async def run() -> None:
        watched = Watched(FileSource(path, poll=0.02))
        await watched.next()
        await steps(watched)

    asyncio.run(run())


def test_it_reads_at_once(rules: Path) -> None:
    fetched = FileSource(rules).read_now()
    assert (fetched.text, fetched.origin, fetched.format) == (b"a", str(rules), "yaml")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("r.yaml", "yaml"), ("r.YML", "yaml"), ("r.json", "json"), ("r.toml", "toml"), ("r.conf", None), ("..data", None)],
)
def test_the_name_tells_the_format(tmp_path: Path, name: str, expected: str | None) -> None:
    (tmp_path / name).write_text("x")
    assert FileSource(tmp_path / name).read_now().format == expected


def test_a_relative_path_means_the_directory_of_the_start(rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(rules.parent)
    source = FileSource("rules.yaml")
    monkeypatch.chdir("/")
    assert source.read_now().text == b"a"


def test_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "my rules.yaml"
    path.write_text("a")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    quoted = "my%20rules.yaml"
    for location in (
        f"file://{tmp_path}/{quoted}",
        f"file://localhost{tmp_path}/{quoted}",
        f"file:{tmp_path}/{quoted}",
        f"file:{quoted}",
        "my rules.yaml",
        "~/my rules.yaml",
    ):
        assert FileSource(location).read_now().text == b"a", location


def test_a_file_on_another_host_is_refused() -> None:
    with pytest.raises(SettingsError, match="host server"):
        FileSource("file://server/rules.yaml")


@pytest.mark.parametrize("path", ["missing.yaml", "rules.yaml/below"])
def test_a_missing_file_holds_no_document(rules: Path, path: str) -> None:
    assert FileSource(rules.parent / path).read_now().text is None


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="a directory"):
        FileSource(tmp_path).read_now()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="pipe"):
        FileSource(tmp_path / "pipe").read_now()


def test_a_file_that_cannot_be_a_rule_document_is_not_read(rules: Path) -> None:
    os.truncate(rules, file_module.MAX_BYTES + 1)
    with pytest.raises(SourceError, match="at most"):
        FileSource(rules).read_now()


def test_a_loop_of_links_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(SourceError, match="cannot be read"):
        FileSource(tmp_path / "a").read_now()


def test_an_unreadable_file_is_an_error_in_words(rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(SourceError, match="cannot be read: Permission denied"):
        FileSource(rules).read_now()


def test_a_watch_ends_with_an_error_where_a_directory_takes_the_place(rules: Path) -> None:
    async def steps(watched: Watched) -> None:
        rules.unlink()
        rules.mkdir()
        with pytest.raises(SourceError):
            await watched.next()

    watching(rules, steps)


def test_an_editor_that_renames_and_replaces(rules: Path) -> None:
    async def steps(watched: Watched) -> None:
        for number in range(5):
            new = rules.with_suffix(".tmp")
            new.write_text(str(number))
            new.replace(rules)
            assert await watched.next() == str(number).encode()

    watching(rules, steps)


def test_an_editor_that_moves_the_old_file_away_first(rules: Path) -> None:
    async def steps(watched: Watched) -> None:
        change = asyncio.ensure_future(watched.next())
        rules.rename(rules.with_suffix(".bak"))
        await asyncio.sleep(0.2)
        rules.write_text("b")
        assert await change == b"b"

    watching(rules, steps)


def test_kubernetes_swaps_the_link_of_a_directory(tmp_path: Path) -> None:
    """A mounted ConfigMap: rules.yaml -> ..data/rules.yaml, ..data -> ..2026_11_22, and ..data is replaced."""
    for stamp, content in (("..1", "a"), ("..2", "b"), ("..3", "c")):
        (tmp_path / stamp).mkdir()
        (tmp_path / stamp / "rules.yaml").write_text(content)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "rules.yaml").symlink_to(Path("..data") / "rules.yaml")

    async def steps(watched: Watched) -> None:
        for stamp, content in (("..2", b"b"), ("..3", b"c")):
            (tmp_path / "..data_tmp").symlink_to(stamp)
            (tmp_path / "..data_tmp").replace(tmp_path / "..data")
            assert await watched.next() == content

    watching(tmp_path / "rules.yaml", steps)


def test_a_change_within_one_tick_of_the_clock_is_seen(rules: Path) -> None:
    """Same length, same inode, same time of modification."""

    async def steps(watched: Watched) -> None:
        status = rules.stat()
        for content in ("b", "c", "d"):
            rules.write_text(content)
            os.utime(rules, ns=(status.st_atime_ns, status.st_mtime_ns))
            assert await watched.next() == content.encode()

    watching(rules, steps)


def test_a_file_system_with_coarse_time_stamps(rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No time stamp changes at all, as within one tick of a file system that counts whole seconds."""
    now = time.time_ns()

    def mark(status: os.stat_result) -> file_module.Mark:
        return file_module.Mark(1, status.st_ino, status.st_size, now, now)

    monkeypatch.setattr(file_module, "_mark_of", mark)

    async def steps(watched: Watched) -> None:
        await asyncio.sleep(0.1)
        rules.write_text("b")
        assert await watched.next() == b"b"

    watching(rules, steps)


def test_an_old_file_is_not_read_again_and_again(rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_module, "RACY_NS", 0)
    reads: list[Path] = []
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: reads.append(self) or read(self))

    async def steps(watched: Watched) -> None:
        await watched.nothing(0.3)

    watching(rules, steps)
    assert len(reads) == 1


def test_an_untouched_content_is_no_change(rules: Path) -> None:
    async def steps(watched: Watched) -> None:
        rules.write_text("a")
        os.utime(rules)
        await watched.nothing(0.3)

    watching(rules, steps)


def test_a_file_is_taken_when_its_writer_has_finished(rules: Path) -> None:
    """Written bit by bit: none of the halves is a document of its own."""

    async def steps(watched: Watched) -> None:
        async def write() -> None:
            with rules.open("w") as file:
                for _ in range(10):
                    file.write("part ")
                    file.flush()
                    await asyncio.sleep(0.015)

        writing = asyncio.ensure_future(write())
        assert await watched.next() == b"part " * 10
        await writing

    watching(rules, steps)


def test_a_file_that_stays_empty_is_told(rules: Path) -> None:
    async def steps(watched: Watched) -> None:
        rules.write_text("")
        assert await watched.next() == b""

    watching(rules, steps)


def test_a_file_that_never_rests_is_taken_at_last(rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_module, "UNREST_SECONDS", 0.3)

    async def steps(watched: Watched) -> None:
        async def write() -> None:
            with rules.open("a") as file:
                while True:
                    file.write("x")
                    file.flush()
                    await asyncio.sleep(0.005)

        writing = asyncio.ensure_future(write())
        taken = await watched.next()
        writing.cancel()
        assert isinstance(taken, bytes)
        assert taken.startswith(b"ax")

    watching(rules, steps)
