"""The user's own OTLP endpoint: what the services export is passed on there too, if the environment names one."""

from __future__ import annotations

import queue
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import urlsplit

import httpx
from opentelemetry.util.re import parse_env_headers

_PREFIX: Final = "OTEL_EXPORTER_OTLP_"
_DEFAULT_ENDPOINT: Final = "http://localhost:4318"
_TIMEOUT_SECONDS: Final = 5.0
_SETTLE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where traces go by the standard ``OTEL_*`` variables.

    Attributes:
        headers: To send along; may hold credentials.
        certificate: File of trusted certificates; empty for the usual ones.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    certificate: str = ""

    @property
    def host(self) -> str:
        """Host of the URL; empty where it has none."""
        return _host(self.url)


def asked_for(environ: Mapping[str, str]) -> Endpoint | None:
    """Endpoint that the environment asks to export traces to; None where it does not.

    Source: OpenTelemetry specification, "OpenTelemetry Protocol Exporter"; a signal's own variable goes first.
    """

    def of(name: str) -> str:
        return environ.get(f"{_PREFIX}TRACES_{name}", "").strip() or environ.get(_PREFIX + name, "").strip()

    exporters = {word.strip() for word in environ.get("OTEL_TRACES_EXPORTER", "").split(",") if word.strip()}
    base = environ.get(f"{_PREFIX}ENDPOINT", "").strip() or (_DEFAULT_ENDPOINT if "otlp" in exporters else "")
    url = environ.get(f"{_PREFIX}TRACES_ENDPOINT", "").strip() or (base and base.rstrip("/") + "/v1/traces")
    if not url or (exporters and not any(word.startswith("otlp") for word in exporters)):
        return None
    return Endpoint(url, parse_env_headers(of("HEADERS"), liberal=True), of("CERTIFICATE"))


class Forwarder:
    """Sends export requests on in the background while used as a context manager; what fails is counted.

    Attributes:
        sent: Requests the endpoint took.
        failures: Requests it did not take.
        last_failure: Why the last one failed; empty where none did.

    Raises:
        OSError: The file of trusted certificates cannot be read.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.sent = 0
        self.failures = 0
        self.last_failure = ""
        trusted = ssl.create_default_context(cafile=endpoint.certificate) if endpoint.certificate else True
        self._client = httpx.Client(
            verify=trusted, timeout=_TIMEOUT_SECONDS, trust_env=not is_on_this_machine(endpoint.url)
        )
        self._waiting: queue.SimpleQueue[tuple[bytes, Mapping[str, str]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="graymw-demo-forward", daemon=True)
        self._settled = threading.Condition()
        self._under_way = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.put(None)
        self._thread.join(_TIMEOUT_SECONDS)
        self._client.close()

    def __call__(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Send one request on, later."""
        with self._settled:
            self._under_way += 1
        self._waiting.put((body, headers))

    def settle(self) -> None:
        """Wait for what is under way; not for ever, where the endpoint hangs."""
        with self._settled:
            if not self._settled.wait_for(lambda: not self._under_way, _SETTLE_SECONDS):
                self.failures += self._under_way
                self.last_failure = f"no answer within {_SETTLE_SECONDS:.0f} s"

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            failure = self._send(*item)
            with self._settled:
                self._under_way -= 1
                self.sent += not failure
                self.failures += bool(failure)
                self.last_failure = failure or self.last_failure
                self._settled.notify_all()

    def _send(self, body: bytes, headers: Mapping[str, str]) -> str:
        """Send one request; returns why it failed, empty where it did not."""
        try:
            answer = self._client.post(self.endpoint.url, content=body, headers={**self.endpoint.headers, **headers})
            answer.raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return (str(error) or type(error).__name__).splitlines()[0]
        return ""


def is_on_this_machine(url: str) -> bool:
    """Whether a proxy of the environment could not reach it anyway."""
    host = _host(url)
    return host in {"localhost", "::1"} or host.startswith("127.")


def _host(url: str) -> str:
    """Host of a URL; empty where it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
