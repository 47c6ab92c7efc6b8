"""A real nginx on loopback that serves a folder: open, with a password, or with TLS; on one port, restarts included."""

from __future__ import annotations

import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Final
from urllib.request import ProxyHandler

from certificates import Certificates
from real_servers import LOOPBACK, binary, real_server

from graymw.demo.processes import free_ports

USER: Final = "gray"
PASSWORD: Final = "s3cret/päss"


class Nginx:
    """An nginx that can be stopped and started again.

    Args:
        folder: Where its settings and output are kept; what it serves lies in ``pages`` below.
        password: Whether it asks for ``USER`` and ``PASSWORD``.
        certificates: It speaks TLS only, and asks clients for a certificate, where given.
        headers: Lines of header fields for each answer, such as ``Cache-Control: max-age=5``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        password: bool = False,
        certificates: Certificates | None = None,
        headers: tuple[str, ...] = (),
    ) -> None:
        self._program = binary("/usr/sbin/nginx", variable="NGINX_BINARY", package="nginx-light")
        (self.port,) = free_ports(1)
        self._folder = folder
        self._secure = certificates is not None
        self.pages = folder / "pages"
        self.pages.mkdir()
        self.pages.chmod(0o755)
        lines = [f"listen {LOOPBACK}:{self.port}{' ssl' if certificates else ''};", f"root {self.pages};"]
        lines += [f'add_header {name} "{value.strip()}";' for name, _, value in (it.partition(":") for it in headers)]
        if password:
            # $apr1$ and crypt() schemes differ between systems; nginx itself reads {PLAIN} everywhere.
            (folder / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
            lines += ["auth_basic graymw;", f"auth_basic_user_file {folder}/users;"]
        if certificates:
            lines += [
                f"ssl_certificate {certificates.cert};",
                f"ssl_certificate_key {certificates.key};",
                f"ssl_client_certificate {certificates.ca};",
                "ssl_verify_client on;",
            ]
        temporary = " ".join(
            f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        self._config = folder / "nginx.conf"
        self._config.write_text(
            f"daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr warn;\n"
            f"events {{}}\nhttp {{ access_log {folder}/access.log; types {{}} default_type text/plain; {temporary}\n"
            f"server {{ {' '.join(lines)} }} }}\n"
        )
        self._running = ExitStack()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self._secure else 'http'}://{LOOPBACK}:{self.port}"

    @property
    def statuses(self) -> list[int]:
        """Of each answer so far, in their order."""
        lines = (self._folder / "access.log").read_text().splitlines()
        return [int(line.split('"')[2].split()[0]) for line in lines if "graymw" in line.split('"')[5]]

    def start(self) -> None:
        command = [self._program, "-e", "stderr", "-p", str(self._folder), "-c", str(self._config)]
        self._running.enter_context(real_server(command, self._folder, self.port, self._is_well))

    def stop(self) -> None:
        self._running.close()

    def write(self, name: str, text: str) -> None:
        """Replace a page as a whole."""
        written = self._folder / "new"
        written.write_text(text)
        written.replace(self.pages / name)

    def _is_well(self) -> bool:
        if self._secure:
            return True
        try:
            with urllib.request.build_opener(ProxyHandler({})).open(self.url, timeout=2):
                return True
        except urllib.error.HTTPError:
            return True
