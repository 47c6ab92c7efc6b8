"""dnsmasq with SRV records, one name for each version of a service."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from real_dns import DOMAIN, DnsServer, host, srv

from registry_backends import Opened

QUIET_SECONDS: Final = 0.1
"""Changes that come closer together than this make one restart of the server, which it takes to change SRV records."""

NO_METADATA: Final = "DNS tells no metadata; tests/servers/test_dns.py has what it tells"
NO_REGISTRATION: Final = "nothing registers in DNS by itself"


class DnsBackend:
    """A dnsmasq, and somebody who writes its configuration."""

    lacks: Mapping[str, str] = {
        "test_it_lists_instances_with_what_they_say_of_themselves": NO_METADATA,
        "test_metadata_of_strangers_breaks_nothing": NO_METADATA,
        "test_a_process_registers_itself_and_leaves_when_it_is_told_to_end": NO_REGISTRATION,
        "test_a_killed_process_is_let_go_when_its_heartbeats_are_missed": NO_REGISTRATION,
        "test_a_registration_that_the_registry_lost_is_restored": NO_REGISTRATION,
        "test_a_registration_outlives_a_restart_of_the_server": NO_REGISTRATION,
        "test_a_process_that_begins_while_the_server_is_down_registers_later": NO_REGISTRATION,
        "test_an_address_is_left_by_the_last_of_its_processes": NO_REGISTRATION,
    }
    seconds = 12.0
    expiry_seconds = 0.0

    def __init__(self, folder: Path) -> None:
        self._server = DnsServer(folder)
        self._instances: dict[tuple[str, str, int], Mapping[str, str]] = {}
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._up = False

    def settings(self) -> dict[str, object]:
        if self._timer is not None and self._timer.is_alive():  # who asks now is about to look
            self._cancel()
            self._apply()
        template = "name=_{service}._tcp.{version}&versions=v1,v2"
        return {"registry": f"dns://{self._server.address}/{DOMAIN}?{template}"}

    def wrong_login(self) -> dict[str, object] | None:
        return None

    def put(self, service: str, host: str, port: int, metadata: Mapping[str, str]) -> None:
        with self._lock:
            self._instances[service, host, port] = metadata
            self._apply_soon()

    def remove(self, service: str, host: str, port: int) -> None:
        with self._lock:
            del self._instances[service, host, port]
            self._apply_soon()

    def start(self) -> None:
        with self._lock:
            self._up = True
            self._server.holds(self._records())
            self._server.start()

    def stop(self) -> None:
        with self._lock:
            self._up = False
            self._cancel()
            self._server.stop()

    def _apply_soon(self) -> None:
        self._cancel()
        self._timer = threading.Timer(QUIET_SECONDS, self._apply)
        self._timer.start()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _apply(self) -> None:
        with self._lock:
            if self._up:
                self._server.holds(self._records())

    def _records(self) -> list[str]:
        targets = {address: f"h{number}.{DOMAIN}" for number, (_, address, _) in enumerate(self._instances)}
        records = [
            srv(f"_{service}._tcp.{it['version']}.{DOMAIN}", targets[address], port, weight=int(it.get("weight", 1)))
            for (service, address, port), it in self._instances.items()
        ]
        return [*records, *(host(target, address) for address, target in targets.items())]


@contextmanager
def _opened(folder: Path) -> Iterator[DnsBackend]:
    backend = DnsBackend(folder)
    backend.start()
    try:
        yield backend
    finally:
        backend.stop()


VARIANTS: Final[dict[str, Opened]] = {"": _opened}
