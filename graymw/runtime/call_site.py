"""The line of the application's own code that led here, for messages: not ours, not a library's, not Python's."""

from __future__ import annotations

import functools
import inspect
import os
import threading
from pathlib import Path
from types import FrameType
from typing import Final, Literal, TypeAlias

Owner: TypeAlias = Literal["graymw", "python", "library", "application"]

_GRAYMW: Final = str(Path(__file__).parent.parent) + os.sep
_PYTHON: Final = str(Path(threading.__file__).parent) + os.sep
_LIBRARIES: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def call_site() -> str:
    """File, line and function of the application's innermost line; of the outermost of all where it has none."""
    frame: FrameType | None = inspect.currentframe()
    last = None
    while frame is not None:
        if owner(frame.f_code.co_filename) == "application":
            return _told(frame)
        last, frame = frame, frame.f_back
    return _told(last) if last is not None else "unknown"


def is_called_by_the_application() -> bool:
    """Whether the application itself called what called us, with nothing but Python's own library between."""
    frame: FrameType | None = inspect.currentframe()
    while frame is not None:
        by = owner(frame.f_code.co_filename)
        if by in ("application", "library"):
            return by == "application"
        frame = frame.f_back
    return False


@functools.lru_cache(maxsize=4_096)
def owner(filename: str) -> Owner:
    """Whose code a file holds."""
    if filename.startswith(_GRAYMW):
        return "graymw"
    if any(folder in filename for folder in _LIBRARIES):
        return "library"
    return "python" if filename.startswith(("<frozen", _PYTHON)) else "application"


def _told(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
