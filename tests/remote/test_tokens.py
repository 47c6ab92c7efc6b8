from __future__ import annotations

from pathlib import Path

import pytest

from graymw.errors import SourceError
from graymw.remote.tokens import current_token
from graymw.settings.access import Access


def test_a_token_is_one_or_the_path_of_a_file_that_is_read_each_time(tmp_path: Path) -> None:
    assert current_token(Access(token="t0ken"), "other") == "t0ken"
    assert current_token(Access(), "other") == "other"
    assert current_token(Access()) == ""
    file = tmp_path / "token"
    file.write_text("first\n")
    access = Access(token=str(file))
    assert current_token(access) == "first"
    file.write_text("second")
    assert current_token(access) == "second"


def test_a_file_that_cannot_be_read_is_told_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=f"cannot be read from {tmp_path}/none: No such file"):
        current_token(Access(token=f"{tmp_path}/none"))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(SourceError, match="it is no text"):
        current_token(Access(token=f"{tmp_path}/bytes"))


@pytest.mark.parametrize("token", ["two\nlines", "schlüssel", "nul\0"])
def test_a_token_that_no_header_can_hold_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(SourceError) as caught:
        current_token(Access(token=token))
    assert "characters that no header can" in str(caught.value)
    assert token not in str(caught.value)
