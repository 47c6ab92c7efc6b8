"""What a ``redis:`` URL means; ``tests/servers/test_redis.py`` has the source talk to a real server."""

from __future__ import annotations

import pytest

from graymw.errors import MissingExtraError, SettingsError
from graymw.settings.access import Access
from graymw.settings.schema import Settings
from graymw.sources import source_for
from graymw.sources.redis import RedisSource


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://h:6379/0", "it names no key; write it like redis://127.0.0.1:6379/0?key=graymw:rules"),
        ("redis://h/x?key=k", "'x' is no number of a database"),
        ("redis://h/²?key=k", "'²' is no number of a database"),
        ("redis://h1,h2/0?key=k", "it names several servers"),
        ("redis:///0?key=k", "it names no host"),
        ("redis://h/0?kye=k", "there is no parameter kye; did you mean key?"),
        ("redis://h:0/0?key=k", "is no host and port"),
    ],
)
def test_what_is_no_place_is_refused_with_the_mend(url: str, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        RedisSource(url, Access())
    (problem,) = refused.value.problems
    assert problem.path == "GRAYMW_RULES"
    assert told in f"{problem.message}; {problem.mend}"


def test_its_name_is_the_url_without_credentials() -> None:
    source = RedisSource("redis://gray:s3cret@h/0?key=graymw:rules", Access())
    assert source.name == "redis://***@h/0?key=graymw:rules"
    assert "s3cret" not in repr(source.__dict__["_access"])


@pytest.mark.parametrize("url", ["redis://h/0?key=k", "rediss://h/0?key=k", "redis+https://h/0?key=k"])
def test_rules_name_it(url: str) -> None:
    source = source_for(Settings(rules=url))
    assert isinstance(source, RedisSource)
    assert source._secure is (url[:8] != "redis://")


def test_a_missing_library_is_told_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graymw.remote.redis.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"redis is not installed: pip install 'graymw\[redis\]'$"):
        RedisSource("redis://h/0?key=k", Access())
