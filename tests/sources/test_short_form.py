from __future__ import annotations

import asyncio

import pytest

from graymw.core.document import parse
from graymw.core.model import RuleDocument, Split
from graymw.errors import RulesError
from graymw.runtime.ports import LocalRuleSource
from graymw.settings.schema import Settings
from graymw.sources.short_form import ShortFormSource


def source(**settings: object) -> ShortFormSource:
    return ShortFormSource(Settings.from_mapping(settings, environ={}))


def document(**settings: object) -> RuleDocument:
    fetched = source(**settings).read_now()
    assert fetched.text is not None
    return parse(fetched.text, format=fetched.format)


def test_a_share_makes_one_release_for_all_services() -> None:
    (release,) = document(gray_ratio="12.5%").releases
    assert (release.name, release.services, release.stable) == ("default", None, "v1")
    header, share = release.rules
    assert header.use == "v2"
    assert header.condition is not None
    assert share.split == Split((("v2", 1250),))


def test_an_expression_comes_before_the_share() -> None:
    (release,) = document(gray_ratio="10%", gray_when="uid % 10 == 0").releases
    assert [(rule.use, rule.split is not None) for rule in release.rules] == [
        ("v2", False),
        ("v2", False),
        (None, True),
    ]


def test_versions_of_its_own() -> None:
    (release,) = document(gray_version="1.11", stable_version="1.10").releases
    assert (release.stable, [rule.use for rule in release.rules]) == ("1.10", ["1.11"])


def test_a_faulty_expression_is_told_by_its_setting() -> None:
    with pytest.raises(RulesError, match="GRAYMW_GRAY_WHEN"):
        source(gray_when="uid %").read_now()


def test_it_is_read_at_once_and_not_worth_a_copy_on_disk() -> None:
    assert isinstance(source(), LocalRuleSource)
    assert source(gray_ratio="1%").read_now().keep is False


def test_it_never_changes() -> None:
    async def run() -> None:
        changes = source(gray_ratio="1%").watch()
        assert await anext(changes) == source(gray_ratio="1%").read_now()
        task = asyncio.ensure_future(anext(changes))
        done, _ = await asyncio.wait([task], timeout=0.05)
        assert not done
        task.cancel()

    asyncio.run(run())


def test_a_faulty_one_is_not_told_again_and_again() -> None:
    """The start has told it, and settings do not change."""

    async def run() -> None:
        task = asyncio.ensure_future(anext(source(gray_when="uid %").watch()))
        done, _ = await asyncio.wait([task], timeout=0.05)
        assert not done
        task.cancel()

    asyncio.run(run())
