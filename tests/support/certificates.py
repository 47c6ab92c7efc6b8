"""A certificate authority for tests, and what it signed: for 127.0.0.1 and localhost, for servers and clients alike.

That has no common name: etcd refuses those of clients beside user names.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_KEY: Final = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
_LEAF: Final = """
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth,clientAuth
subjectAltName=IP:127.0.0.1,DNS:localhost
"""


@dataclass(frozen=True, slots=True)
class Certificates:
    """Paths of an authority's certificate, and of a certificate it signed with its key."""

    ca: Path
    cert: Path
    key: Path


def certificates(folder: Path, subject: str = "/O=graymw tests") -> Certificates:
    """Make an authority of its own, and one certificate; a ``subject`` with a name (CN) is a user to some servers."""
    made = Certificates(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    ca_key, request, extensions = folder / "ca-key.pem", folder / "request.pem", folder / "leaf.cnf"
    extensions.write_text(_LEAF)
    _openssl("req", "-x509", *_KEY, "-days", "2", "-subj", "/CN=graymw tests", "-keyout", ca_key, "-out", made.ca,
             "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
             )  # fmt: skip
    _openssl("req", *_KEY, "-subj", subject, "-keyout", made.key, "-out", request)
    _openssl("x509", "-req", "-days", "2", "-in", request, "-CA", made.ca, "-CAkey", ca_key, "-CAcreateserial",
             "-extfile", extensions, "-out", made.cert,
             )  # fmt: skip
    return made


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
