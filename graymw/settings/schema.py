"""All settings of a process as one frozen value."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Self

from graymw.core.instances import Instance
from graymw.errors import Problem, SettingsError
from graymw.settings import access, routing_values, values
from graymw.settings.access import Access
from graymw.settings.identity import UNKNOWN_SERVICE, resource_identity
from graymw.settings.place import SettingsPlace
from graymw.settings.redaction import redacted
from graymw.settings.routing_values import Balancer
from graymw.settings.services import services
from graymw.settings.values import FactSource, Fault, RefusedError, Trust

PREFIX: Final = "GRAYMW_"
EGRESS: Final = (".local", ".internal", ".svc", ".cluster.local", ".consul")
HALF_A_YEAR: Final = 180 * 24 * 3600
NO_SETTINGS: Final = ("explicit", "warnings", "place")
"""Fields of ``Settings`` that nobody sets, but that tell of the others."""

# Kubernetes sets these for a Service named graymw or graymw-…, in every pod of its namespace.
_SERVICE_LINK: Final = re.compile(
    r"(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)?)"
)


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """What the process was told. Each field is the setting of that name: ``service`` is ``GRAYMW_SERVICE``.

    Attributes:
        enabled: False switches everything off.
        service: Logical name of this process.
        version: Version label of this process; empty where unknown.
        zone: Where this process runs, to prefer near instances; empty where it does not matter.
        rules: Path or URL of the rule document; empty without one.
        gray_ratio: Share of the short form, such as ``10%``; empty without one.
        gray_when: CEL expression of the short form; empty without one.
        gray_version: Version the short form sends gray requests to.
        stable_version: Version the short form sends all others to.
        user: Where the user id comes from, in order; ``region`` and ``device`` alike.
        trust: Whose gray baggage counts.
        secret: Keys of signed decisions; the first signs, all verify.
        signature_ttl: Seconds for which a signature holds.
        egress: Host name suffixes that gray members may be sent to.
        registry: ``static`` or the URL of a registry.
        services: Instances by service, for the static registry.
        discover: Services to look up besides those that the rules name.
        balancer: How one of the instances of the decided version is picked.
        retry_budget: Calls tried once more on another instance, as a share of all calls; in 0.01 % steps.
        warm_up: Seconds in which a new instance grows into its weight; 0 for at once.
        register: Whether this process registers itself.
        address: ``HOST:PORT``, ``HOST`` or ``:PORT`` to register; what is left out is found out.
        weight: Share of the traffic to register, relative to siblings.
        metadata: What to register besides version, weight and zone.
        rules_access: How to log in where the rules come from.
        registry_access: How to log in at the registry.
        strict: Whether a request meant for another version of this service is refused (421) rather than served.
        feature_flags: Whether ``feature_flag.*`` attributes are written.
        access_log: Where a line for each decided request goes: ``stdout``, ``stderr`` or a file; empty for nowhere.
        access_log_facts: Whether these lines hold what the rules read of the request, user ids included.
        sample_gray: Share from 0 to 1 of the gray traces that a ``GraySampler`` keeps which was given none; None: all.
        sample_stable: The same of all other traces.
        detect_lost_context: Whether threads, executors, tasks and queues are watched for work that leaves a request
            without its context.
        state_dir: Where the last good document and the status lie; empty for the default place.
        cookie_max_age: Seconds for which an issued ``gray_id`` cookie lasts.
        explicit: Names of the fields that were set rather than left to their default.
        warnings: What was noticed and worked around; for the log.
        place: Where they were found; None where the application gave them itself.
    """

    enabled: bool = True
    service: str = ""
    version: str = ""
    zone: str = ""
    rules: str = ""
    gray_ratio: str = ""
    gray_when: str = ""
    gray_version: str = "v2"
    stable_version: str = "v1"
    user: tuple[FactSource, ...] = (
        FactSource("header", "x-user-id"),
        FactSource("cookie", "uid"),
        FactSource("query", "uid"),
    )
    region: tuple[FactSource, ...] = (
        FactSource("header", "x-region"),
        FactSource("cookie", "region"),
        FactSource("query", "region"),
    )
    device: tuple[FactSource, ...] = (FactSource("header", "x-device"), FactSource("user-agent"))
    trust: Trust = "private"
    secret: tuple[bytes, ...] = ()
    signature_ttl: int = 300
    egress: tuple[str, ...] = EGRESS
    registry: str = "static"
    services: Mapping[str, tuple[Instance, ...]] = field(default_factory=lambda: MappingProxyType({}))
    discover: tuple[str, ...] = ()
    balancer: Balancer = "round-robin"
    retry_budget: int = 2_000
    warm_up: int = 0
    register: bool = False
    address: str = ""
    weight: int = 1
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    rules_access: Access = field(default_factory=Access)
    registry_access: Access = field(default_factory=Access)
    strict: bool = False
    feature_flags: bool = False
    access_log: str = ""
    access_log_facts: bool = False
    sample_gray: float | None = None
    sample_stable: float | None = None
    detect_lost_context: bool = False
    state_dir: str = ""
    cookie_max_age: int = HALF_A_YEAR
    explicit: frozenset[str] = frozenset()
    warnings: tuple[Problem, ...] = ()
    place: SettingsPlace | None = field(default=None, compare=False)

    @property
    def short_form(self) -> bool:
        """Whether ``gray_ratio``, ``gray_when`` or ``gray_version`` takes the place of a rule document."""
        return not self.rules and bool(self.gray_ratio or self.gray_when or "gray_version" in self.explicit)

    @property
    def stable_version_set(self) -> bool:
        """Whether the stable version was named rather than left to its default."""
        return "stable_version" in self.explicit

    def __repr__(self) -> str:
        """What differs from the defaults, without secrets."""
        shown = []
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            if entry.name == "secret" and value:
                shown.append(f"secret=<{len(value)} hidden>")
            elif entry.name not in NO_SETTINGS and value != _DEFAULTS[entry.name]:
                shown.append(f"{entry.name}={redacted(value) if isinstance(value, str) else value!r}")
        return f"Settings({', '.join(shown)})"

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object], *, environ: Mapping[str, str] | None = None) -> Self:
        """Validate settings.

        Args:
            mapping: By name, with or without ``GRAYMW_``, in any case. Empty text and None mean: not set.
            environ: Where OpenTelemetry's resource variables stand; default: the environment of the process.

        Raises:
            SettingsError: With every problem at once.
        """
        read, problems = _read(mapping)
        warnings: list[Problem] = []
        told: dict[str, Any] = {**_identity(os.environ if environ is None else environ, read, warnings), **read}
        settings = cls(**_grouped(told), explicit=frozenset(read))
        problems += _contradictions(settings, {problem.path for problem in problems})
        if any(len(key) < _SHORT_KEY for key in settings.secret):
            warnings.append(_short_key())
        warnings += _overruled(settings)
        if problems:
            raise SettingsError(problems)
        return dataclasses.replace(settings, warnings=tuple(warnings))


def _grouped(told: dict[str, Any]) -> dict[str, Any]:
    """The settings with all that begins with ``rules_`` or ``registry_`` in the ``Access`` of that name."""
    grouped = {name: value for name, value in told.items() if name not in _ACCESS_READERS}
    for group in _ACCESS_GROUPS:
        given = {key: told[f"{group}_{key}"] for key in access.READERS if f"{group}_{key}" in told}
        if given:
            grouped[f"{group}_access"] = Access(**given)
    return grouped


def _contradictions(settings: Settings, refused: set[str]) -> list[Problem]:
    """Settings that are right one by one and wrong together; ``refused`` holds the paths already complained of."""
    found = []
    secret = f"{PREFIX}SECRET"
    if settings.trust == "signed" and not settings.secret and secret not in refused:
        found.append(Problem(secret, "signed trust needs a key", "set it to a long random string"))
    if settings.short_form and settings.gray_version == settings.stable_version:
        found.append(
            Problem(
                f"{PREFIX}GRAY_VERSION",
                f"gray and stable version are both {settings.stable_version}",
                f"set {PREFIX}GRAY_VERSION and {PREFIX}STABLE_VERSION to different versions",
            )
        )
    return found


def _short_key() -> Problem:
    mend = f"use {_SHORT_KEY} random characters or more"
    return Problem(f"{PREFIX}SECRET", "a key is so short that it can be guessed", mend, severity="warning")


def _overruled(settings: Settings) -> list[Problem]:
    """Settings of the short form that a rule document takes the place of."""
    return [
        Problem(
            f"{PREFIX}{name.upper()}",
            f"it does not count beside {PREFIX}RULES",
            "write it into the rule document, or unset one of the two",
            severity="warning",
        )
        for name in _SHORT_FORM
        if settings.rules and name in settings.explicit
    ]


def _read(mapping: Mapping[str, object]) -> tuple[dict[str, Any], list[Problem]]:
    """Typed values of the settings that are set, and all that is wrong with the others."""
    read: dict[str, Any] = {}
    problems: list[Problem] = []
    for written, value in mapping.items():
        name = str(written).upper().removeprefix(PREFIX)
        reader = _READERS.get(name.lower())
        if reader is None:
            if not _SERVICE_LINK.fullmatch(name):
                problems.append(_unknown(name))
        elif value is not None and value != "" and not (isinstance(value, str) and not value.strip()):
            try:
                read[name.lower()] = reader(value)
            except RefusedError as error:
                problems.extend(_problem(name, fault) for fault in error.faults)
    return read, problems


def _identity(environ: Mapping[str, str], read: Mapping[str, object], warnings: list[Problem]) -> dict[str, str]:
    """Service and version by OpenTelemetry's resource. A version graymw cannot carry is not a reason to stop."""
    service, version = resource_identity(environ)
    identity = {"service": service or UNKNOWN_SERVICE}
    if version and values.VERSION_PATTERN.fullmatch(version):
        identity["version"] = version
    elif version and "version" not in read:
        warnings.append(
            Problem(
                "OTEL_RESOURCE_ATTRIBUTES",
                f"service.version {version!r} is no version label, so this process counts as unversioned",
                f"set {PREFIX}VERSION to letters, digits, '.', '_' or '-', at most 64",
                severity="warning",
            )
        )
    return identity


def _unknown(name: str) -> Problem:
    close = difflib.get_close_matches(name.lower(), _READERS, 1)
    mend = f"did you mean {PREFIX}{close[0].upper()}?" if close else "remove it, or see the settings table in README"
    return Problem(f"{PREFIX}{name}", "there is no such setting", mend)


def _problem(name: str, fault: Fault) -> Problem:
    return Problem(f"{PREFIX}{name}{fault.where}", fault.message, fault.mend)


_SHORT_FORM: Final = ("gray_ratio", "gray_when", "gray_version")
_SHORT_KEY: Final = 16
_DEFAULTS: Final = {entry.name: getattr(Settings(), entry.name) for entry in dataclasses.fields(Settings)}
_ACCESS_GROUPS: Final = ("rules", "registry")
_ACCESS_READERS: Final = {f"{group}_{key}": read for group in _ACCESS_GROUPS for key, read in access.READERS.items()}
_READERS: Final[Mapping[str, Callable[[object], object]]] = {
    **_ACCESS_READERS,
    "enabled": values.flag,
    "service": values.name,
    "version": values.label,
    "zone": values.name,
    "rules": values.name,
    "gray_ratio": values.share,
    "gray_when": values.text,
    "gray_version": values.label,
    "stable_version": values.label,
    "user": values.sources(),
    "region": values.sources(),
    "device": values.sources(user_agent=True),
    "trust": values.trust,
    "secret": values.secrets,
    "signature_ttl": values.signature_seconds,
    "egress": values.suffixes,
    "registry": values.name,
    "services": services,
    "discover": routing_values.service_names,
    "balancer": routing_values.balancer,
    "retry_budget": routing_values.retry_share,
    "warm_up": routing_values.duration,
    "register": values.flag,
    "address": routing_values.address,
    "weight": routing_values.weight,
    "metadata": routing_values.metadata,
    "strict": values.flag,
    "feature_flags": values.flag,
    "access_log": values.sink,
    "access_log_facts": values.flag,
    "sample_gray": values.ratio,
    "sample_stable": values.ratio,
    "detect_lost_context": values.flag,
    "state_dir": values.name,
    "cookie_max_age": values.seconds,
}
