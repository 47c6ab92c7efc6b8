from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from graymw.editing.changes import set_shares
from graymw.editing.publishing import ATTEMPTS, Author, Difference, Published, change_of, publish
from graymw.editing.texts import edited
from graymw.errors import ConflictError, RulesError, SourceError
from graymw.runtime.ports import Change, Fetched
from graymw.sources.file_store import FileStore

RULES = "schema: 1\nreleases:\n  checkout:\n    stable: v1\n    rules:\n      - split: {v2: 10%}  # a few\n"
ANN = Author("ann", "set checkout --share v2=20%", "looks good")


def share(percent: str) -> Callable[[str, str | None], str]:
    return lambda text, format_: edited(text, format_, lambda tree: set_shares(tree, "checkout", {"v2": percent}))


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    (tmp_path / "rules.yaml").write_text(RULES)
    return FileStore(tmp_path / "rules.yaml")


def published(
    store: FileStore, make: Callable[[str, str | None], str], confirm: Callable[[Difference], bool] = lambda _: True
) -> Published:
    return asyncio.run(publish(store, ANN, make, confirm, clock=lambda: 5.0))


def history(store: FileStore) -> list[Change]:
    return asyncio.run(store.history(10))


def test_a_change_is_shown_written_and_kept_with_its_story(store: FileStore) -> None:
    shown: list[Difference] = []
    done = published(store, share("20%"), lambda difference: not shown.append(difference))  # type: ignore[func-returns-value]
    assert store.path.read_text() == RULES.replace("10%", "20%")
    assert [line for line in shown[0].lines if line[0] in "+-"][2:] == [
        "-      - split: {v2: 10%}  # a few",
        "+      - split: {v2: 20%}  # a few",
    ]
    assert done.change is not None
    assert (done.change.who, done.change.what, done.change.why, done.change.at) == ("ann", ANN.what, "looks good", 5.0)
    assert [change.what for change in history(store)] == [ANN.what, "found"]
    assert history(store)[1].text == RULES


def test_without_consent_nothing_is_written(store: FileStore) -> None:
    done = published(store, share("20%"), lambda _: False)
    assert done.difference is not None
    assert done.change is None
    assert (store.path.read_text(), history(store)) == (RULES, [])


def test_where_nothing_would_change_nothing_is_asked_or_written(store: FileStore) -> None:
    def never(_: Difference) -> bool:
        raise AssertionError

    assert published(store, share("10%"), never) == Published(None, None)


def test_a_document_with_errors_is_never_written(store: FileStore) -> None:
    with pytest.raises(RulesError, match="split"):
        published(store, share("200%"))
    assert store.path.read_text() == RULES


def test_after_a_conflict_the_change_is_made_on_what_the_other_wrote(store: FileStore) -> None:
    asked = 0

    def other_first(_: Difference) -> bool:
        nonlocal asked
        asked += 1
        if asked == 1:
            store.path.write_text(RULES.replace("# a few", "# some"))
        return True

    done = published(store, share("20%"), other_first)
    assert store.path.read_text() == RULES.replace("10%", "20%").replace("# a few", "# some")
    assert (done.conflicts, asked) == (1, 2)


def test_the_first_document_of_all(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "rules.yaml")
    done = published(store, lambda _text, _format: RULES)
    assert done.difference is not None
    assert done.difference.before is None
    assert store.path.read_text() == RULES


def test_a_broken_document_can_be_replaced(store: FileStore) -> None:
    store.path.write_text("releases: [")
    published(store, lambda _text, _format: RULES)
    assert store.path.read_text() == RULES


def test_somebody_who_never_stops_writing_is_told(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async def conflict(_change: Change, *, expected: str) -> None:
        raise ConflictError("again")

    async def at_once(_seconds: float) -> None: ...

    monkeypatch.setattr(store, "write", conflict)
    monkeypatch.setattr(asyncio, "sleep", at_once)
    with pytest.raises(SourceError, match=f"changed {ATTEMPTS} times while it was being written"):
        published(store, share("20%"))


def test_a_revision_is_found_by_its_first_digits(store: FileStore) -> None:
    first = published(store, share("20%")).change
    second = published(store, share("30%")).change
    assert first is not None
    assert second is not None
    assert asyncio.run(change_of(store, first.revision[:6])) == first
    with pytest.raises(SourceError, match=f"the history has no revision zzz; the last ones are {second.revision}, "):
        asyncio.run(change_of(store, "zzz"))
    with pytest.raises(SourceError, match="several revisions begin with"):
        asyncio.run(change_of(store, ""))


class Lossy(FileStore):
    """A store that loses the answer to a write, before or after it was done."""

    is_written = True
    is_there = True
    lost = False

    async def write(self, change: Change, *, expected: str) -> None:
        if self.is_written:
            await super().write(change, expected=expected)
        self.lost = change.what == ANN.what
        if self.lost:
            raise SourceError("no answer in time")

    async def read(self) -> Fetched:
        if self.lost and not self.is_there:
            raise SourceError("out of reach")
        return await super().read()


def test_a_write_whose_answer_was_lost_is_looked_for(store: FileStore) -> None:
    lossy = Lossy(store.path)
    done = published(lossy, share("20%"))
    assert done.change is not None
    assert lossy.path.read_text() == RULES.replace("10%", "20%")


def test_a_write_that_was_not_done_is_told(store: FileStore) -> None:
    lossy = Lossy(store.path)
    lossy.is_written = False
    with pytest.raises(SourceError, match=r"^no answer in time$"):
        published(lossy, share("20%"))


def test_a_write_of_which_nothing_is_known_is_told_as_such(store: FileStore) -> None:
    lossy = Lossy(store.path)
    lossy.is_there = False
    with pytest.raises(SourceError, match="no answer in time; whether it was written is not known: graymw history"):
        published(lossy, share("20%"))


def test_who_may_not_read_the_history_may_write_all_the_same(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_limit: int) -> list[Change]:
        raise SourceError("administrators only")

    monkeypatch.setattr(store, "history", refuse)
    assert published(store, share("20%")).change is not None
    assert store.path.read_text() == RULES.replace("10%", "20%")
