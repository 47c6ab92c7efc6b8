from __future__ import annotations

import pytest

from graymw.cli import terminal

HOSTILE = "a\x1b]0;title\x07\x9b2J\rb\tc\nd"
HARMLESS = "a\N{REPLACEMENT CHARACTER}]0;title" + "\N{REPLACEMENT CHARACTER}" * 2 + "2J\N{REPLACEMENT CHARACTER}b\tc\nd"


def test_what_others_wrote_does_not_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.line(HOSTILE)
    terminal.complain(HOSTILE)
    assert capsys.readouterr() == (f"{HARMLESS}\n", f"{HARMLESS}\n")
    assert terminal.text(HOSTILE).plain == HARMLESS
