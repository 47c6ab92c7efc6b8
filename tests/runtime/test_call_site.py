from __future__ import annotations

import queue
from typing import Any

import pytest

from graymw.runtime import call_site as module
from graymw.runtime.call_site import call_site, is_called_by_the_application, owner


def of_a_library(source: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"call_site": call_site, "asked": is_called_by_the_application}
    exec(compile(source, "/x/lib/site-packages/library.py", "exec"), namespace)
    return namespace


def test_the_innermost_line_of_the_application_is_told() -> None:
    found = of_a_library("def work(): return call_site()")["work"]()
    assert found.startswith(f"{__file__}:")
    assert found.endswith("in test_the_innermost_line_of_the_application_is_told")


def test_whether_the_application_itself_called() -> None:
    assert is_called_by_the_application()
    assert not of_a_library("def work(): return asked()")["work"]()


@pytest.mark.parametrize(
    ("file", "whose"),
    [
        (module.__file__, "graymw"),
        (queue.__file__, "python"),
        ("<frozen importlib._bootstrap>", "python"),
        ("/usr/lib/python3/dist-packages/x.py", "library"),
        (pytest.__file__, "library"),
        (__file__, "application"),
        ("<stdin>", "application"),
    ],
)
def test_whose_code_a_file_holds(file: str, whose: str) -> None:
    assert owner(file) == whose
