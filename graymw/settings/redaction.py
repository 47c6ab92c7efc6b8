"""URLs as they may be shown: in logs, metrics, status and error messages."""

from __future__ import annotations

import re
from typing import Final

_USERINFO: Final = re.compile(r"(?P<begin>://|^[a-z][a-z0-9+.-]*:/?)[^/?#]*@", re.IGNORECASE)
_SECRET_QUERY: Final = re.compile(
    r"([?&](?:sig|[^=&#]*(?:pass|pwd|token|secret|key_?id|access_?key|api_?key|signature|credential)[^=&#]*)=)[^&#]*",
    re.IGNORECASE,
)


def redacted(url: str) -> str:
    """The URL or path without user, password and query parameters that hold credentials."""
    return _SECRET_QUERY.sub(r"\1***", _USERINFO.sub(r"\g<begin>***@", url))
