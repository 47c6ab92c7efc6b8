"""Who this process is, by OpenTelemetry's resource variables: the default of ``GRAYMW_SERVICE`` and ``GRAYMW_VERSION``.

Source: OpenTelemetry specification, resource SDK, "Specifying resource information via an environment variable".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

UNKNOWN_SERVICE: Final = "unknown_service"
RESOURCE_VARIABLES: Final = frozenset({"OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"})


def resource_identity(environ: Mapping[str, str]) -> tuple[str, str]:
    """Service name and version by ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES``; empty where not told."""
    attributes: dict[str, str] = {}
    for member in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        key, equals, value = member.partition("=")
        if equals:
            attributes[key.strip()] = unquote(value.strip())
    service = environ.get("OTEL_SERVICE_NAME", "").strip() or attributes.get("service.name", "")
    return service, attributes.get("service.version", "")
