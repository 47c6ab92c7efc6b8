"""A file, written in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from graymw.runtime.ports import RuleSource, RuleStore
from graymw.sources.file import FileSource
from graymw.sources.file_store import FileStore
from rule_backends import Opened

NO_SERVER: Final = "a file has no server"


class FileBackend:
    """A file and its author."""

    lacks: Mapping[str, str] = dict.fromkeys(
        [
            "test_a_restart_of_the_server_loses_nothing",
            "test_while_the_server_is_gone_the_last_document_stays",
            "test_what_is_written_while_nobody_could_watch_is_seen_afterwards",
            "test_a_process_starts_with_the_copy_on_disk_while_the_server_is_down",
            "test_a_server_that_is_not_there_is_an_error_in_words",
            "test_a_wrong_login_is_told_and_retried",
            "test_a_store_out_of_reach_is_told",
        ],
        NO_SERVER,
    )
    seconds = 5.0

    def __init__(self, folder: Path) -> None:
        self.path = folder / "rules.yaml"

    def source(self) -> RuleSource:
        return FileSource(self.path)

    def source_with_wrong_login(self) -> RuleSource | None:
        return None

    def store(self) -> RuleStore | None:
        return FileStore(self.path)

    def store_with_wrong_login(self) -> RuleStore | None:
        return None

    def write(self, text: str) -> None:
        self.path.write_text(text)

    def delete(self) -> None:
        self.path.unlink()

    def stop(self) -> None:
        raise AssertionError(NO_SERVER)

    def start(self) -> None:
        raise AssertionError(NO_SERVER)


@contextmanager
def _opened(folder: Path) -> Iterator[FileBackend]:
    yield FileBackend(folder)


VARIANTS: Final[dict[str, Opened]] = {"": _opened}
