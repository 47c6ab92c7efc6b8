"""Which processes of this machine serve one address: a preforking server's workers share a socket and one registration.

One of them speaks for all: it registers and keeps alive. When it ends another takes over, and the last one that ends
takes the registration out. Locks of the kernel tell, so that a killed process counts as ended at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from pathlib import Path
from typing import Final

_MOMENT: Final = 0.005


class AddressMembers:
    """This process among those that serve an address.

    Args:
        directory: Where the lock files lie; None: this process stands alone.
        address: What they have in common.
    """

    def __init__(self, directory: Path | None, address: str) -> None:
        self._pid = os.getpid()
        self._members = self._speaker = -1
        if directory is not None:
            with contextlib.suppress(OSError):
                self._members = _opened(_place(directory, "members", address))
                self._speaker = _opened(_place(directory, "speaker", address))
                fcntl.flock(self._members, fcntl.LOCK_SH)

    @staticmethod
    def any(directory: Path | None, address: str) -> bool:
        """Whether any process serves an address; False where that cannot be known."""
        with contextlib.suppress(OSError):
            descriptor = _opened(_place(directory, "members", address)) if directory is not None else -1
            try:
                return descriptor != -1 and not _locked(descriptor)
            finally:
                if descriptor != -1:
                    os.close(descriptor)
        return False

    def speak(self) -> bool:
        """Whether this process is the one that speaks for all; asked again later where it is not."""
        return self._speaker == -1 or _locked(self._speaker)

    def leave(self) -> bool:
        """Serve the address no more; whether nobody else does."""
        if self._pid != os.getpid():
            return False
        last = self._members == -1 or _locked(self._members)
        if not last:  # whoever asks whether there is ``any`` holds the lock for a moment
            time.sleep(_MOMENT)
            last = _locked(self._members)
        self.close()
        return last

    def close(self) -> None:
        """Let go of the files. In a forked process this leaves the parent's locks as they are."""
        for descriptor in (self._speaker, self._members):
            if descriptor != -1:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        self._members = self._speaker = -1


def _place(directory: Path, kind: str, address: str) -> Path:
    return directory / f".{kind}-{hashlib.sha256(address.encode()).hexdigest()[:16]}.lock"


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
