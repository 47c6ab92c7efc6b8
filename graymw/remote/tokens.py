"""Tokens, which may lie in a file that is written anew before they expire."""

from __future__ import annotations

from pathlib import Path

from graymw.errors import SourceError
from graymw.settings.access import Access


def current_token(access: Access, otherwise: str = "") -> str:
    """The token as it is now; empty without one.

    Args:
        access: Whose ``token`` is one, or the absolute path of a file that holds one.
        otherwise: What counts where ``access`` has none.

    Raises:
        SourceError: The file cannot be read.
    """
    token = access.token or otherwise
    if token.startswith("/"):
        token = _read(token)
    if token.isascii() and token.isprintable():
        return token
    raise SourceError("the token holds characters that no header can; check the setting that ends in _TOKEN")


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        told = getattr(error, "strerror", None) or "it is no text"
        raise SourceError(
            f"the token cannot be read from {path}: {told}; check the setting that ends in _TOKEN"
        ) from error
