from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.core.document import parse
from graymw.runtime.ports import Change
from graymw.sources.nacos_story import story_of, with_story, without_story

DOCUMENT = "schema: 1\nreleases:\n  r:\n    stable: v1\n"
TEXTS = st.text(max_size=40)


def change(text: str, **more: str) -> Change:
    return Change(text, "9f3c2a11", 1_700_000_000.5, **({"who": "ann", "what": "set r", "why": "é"} | more))


@given(text=TEXTS.filter(lambda text: not text.lstrip().startswith(("{", "["))), who=TEXTS, what=TEXTS, why=TEXTS)
def test_a_document_and_its_story_come_apart_again(text: str, who: str, what: str, why: str) -> None:
    told = change(text, who=who, what=what, why=why)
    assert without_story(with_story(told)) == text
    assert story_of(with_story(told)) == told


@given(TEXTS)
def test_no_text_breaks_it(text: str) -> None:
    for each in (text, f"# graymw: {text}", f"{text}\n# graymw: {text}\n"):
        without_story(each)
        story_of(each)


@given(why=TEXTS)
def test_the_story_does_not_change_what_the_document_means(why: str) -> None:
    assert parse(with_story(change(DOCUMENT, why=why))).revision == parse(DOCUMENT).revision


def test_people_can_read_it() -> None:
    line = with_story(change(DOCUMENT)).splitlines()[-1]
    assert line.startswith('# graymw: {"who": "ann", "what": "set r", "why": "é"')


@pytest.mark.parametrize("text", ["one", "one\n", "", "\n", "# a comment"])
def test_a_document_of_others_has_none(text: str) -> None:
    assert (without_story(text), story_of(text)) == (text, None)


def test_an_edit_by_another_hand_takes_the_story_away() -> None:
    edited = with_story(change(DOCUMENT)).replace("v1", "v2")
    assert (without_story(edited), story_of(edited)) == (DOCUMENT.replace("v1", "v2"), None)


def test_json_has_no_comments() -> None:
    assert with_story(change('{"schema": 1}')) == '{"schema": 1}'
