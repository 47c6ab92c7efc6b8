"""What this process knows and obeys: settings, the current rules, the instances, trust and egress.

A request reads ``engine.snapshot`` once and keeps it, so it sees one document from beginning to end.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from graymw.core.carrying import wire
from graymw.core.carrying.egress import EgressPolicy
from graymw.core.carrying.signing import Signer
from graymw.core.cel.evaluating import EvaluationError, LibraryError
from graymw.core.cel.tokens import ExpressionError
from graymw.core.context import UNDECIDED, Decision, GrayContext
from graymw.core.feature_flag import feature_flag_attributes
from graymw.core.model import Release, RuleDocument
from graymw.core.patterns import PatternError
from graymw.core.ruleset import RuleSet, compile_rules
from graymw.core.semver import RangeError
from graymw.runtime import counters, tracing
from graymw.runtime.header_selection import HeaderSelection, select_headers
from graymw.runtime.instance_picking import InstanceDirectory
from graymw.runtime.ports import Instances
from graymw.settings.live import adopted
from graymw.settings.schema import Settings

if TYPE_CHECKING:
    from graymw.runtime.observing import Observer

log = logging.getLogger("graymw.engine")

CACHE_LIMIT: Final = 512
"""Contexts remembered in each cache: callers send few different ones, and one may take 20 kB."""

CACHED_LENGTH: Final = 1_024
"""Longest text of gray members that is a key of a cache; callers may write anything between what is read of it."""

_ABOUT_THE_DOCUMENT: Final = (ExpressionError, LibraryError, PatternError, RangeError)
"""Errors whose text comes from the rules; that of any other may hold what a request sent."""


@dataclass(frozen=True, slots=True)
class Inherited:
    """Decisions read from a request's own baggage, and whether they cover every release of the document."""

    gray: GrayContext
    complete: bool


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """One document, compiled, and the settings that go with it; immutable but for its bounded caches.

    Attributes:
        settings: Those of every request that begins with this.
        headers: Which request headers these rules read.
        egress: Which hosts may be told the decisions.
        may_refuse: Whether a call may find no instance that may take it.
        feature_flags: Whether the server span also tells the decision in the words for feature flags.
    """

    rules: RuleSet
    settings: Settings
    headers: HeaderSelection
    egress: EgressPolicy
    may_refuse: bool
    service: str
    stable_elsewhere: str | None
    feature_flags: bool = False
    carried: dict[GrayContext, Any] = field(default_factory=dict)
    _inherited: dict[str, Inherited] = field(default_factory=dict)
    _served: dict[GrayContext, Mapping[str, str | bool]] = field(default_factory=dict)
    _misrouted: dict[GrayContext, bool] = field(default_factory=dict)

    @property
    def document(self) -> RuleDocument:
        """The document these rules were compiled from."""
        return self.rules.document

    def inherit(self, gray_text: str) -> Inherited:
        """Context of the gray members of a trusted request; remembered by their text."""
        if len(gray_text) > CACHED_LENGTH:
            return self._read(gray_text)
        known = self._inherited.get(gray_text)
        if known is None:
            known = self._read(gray_text)
            if len(self._inherited) >= CACHE_LIMIT:
                self._inherited.clear()
            self._inherited[gray_text] = known
        return known

    def _read(self, gray_text: str) -> Inherited:
        members = wire.read(gray_text)
        for fault in members.faults:
            counters.count(f"baggage.{fault}")
        context = self.context_of(members.versions, members.revision)
        missing = {release.name for release in self.document.releases} - set(context.decisions)
        return Inherited(context, not missing)

    def context_of(self, versions: tuple[tuple[str, str], ...], revision: str | None) -> GrayContext:
        """Context of decisions made elsewhere."""
        if not versions:
            return UNDECIDED
        stable = {release.name: release.stable for release in self.document.releases}
        governing = self.document.governing(self.service)
        return GrayContext(
            [
                Decision(name, version, "inherited", None, revision, stable.get(name, self.stable_elsewhere))
                for name, version in versions
            ],
            revision=revision,
            primary=governing.name if governing else None,
        )

    def server_attributes(self, gray: GrayContext, served_version: str) -> Mapping[str, str | bool]:
        """Attributes of the server span: those of every span, and why, by which rules, and whether it was honoured."""
        known = self._served.get(gray)
        if known is None:
            known = self._server_attributes(gray, served_version)
            if len(self._served) >= CACHE_LIMIT:
                self._served.clear()
            self._served[gray] = known
        return known

    def _server_attributes(self, gray: GrayContext, served_version: str) -> Mapping[str, str | bool]:
        attributes = dict(gray.attributes)
        if gray.revision:
            attributes["gray.revision"] = gray.revision
        if served_version:
            attributes["gray.served_version"] = served_version
        decision = gray.decisions.get(gray.primary) if gray.primary else None
        if decision is not None:
            attributes["gray.reason"] = decision.reason
            if decision.rule is not None:
                attributes["gray.rule"] = decision.rule
            if self.feature_flags:
                attributes |= feature_flag_attributes(decision, self.service)
        honoured = self.honoured(gray, served_version)
        if honoured is not None:
            attributes["gray.honoured"] = honoured
        return attributes

    def is_misrouted(self, gray: GrayContext, served_version: str) -> bool:
        """Whether the caller meant another version of this service than this instance is of."""
        known = self._misrouted.get(gray)
        if known is None:
            release = self.document.governing(self.service)
            decision = gray.decisions.get(release.name) if release else None
            told = decision is not None and decision.reason == "inherited"
            known = told and self.honoured(gray, served_version) is False
            if len(self._misrouted) >= CACHE_LIMIT:
                self._misrouted.clear()
            self._misrouted[gray] = known
        return known

    def honoured(self, gray: GrayContext, served_version: str) -> bool | None:
        """Whether this instance is of the version decided for its service; None where none was decided for it."""
        release = self.document.governing(self.service)
        decision = gray.decisions.get(release.name) if release else None
        if release is None or decision is None or not served_version:
            return None
        return release.label(self.service, decision.version) == served_version


class Engine:
    """One configured graymw: what ``install`` makes and every adapter asks.

    Attributes:
        settings: In force now. A request asks ``snapshot.settings`` for what may change while it runs.
        snapshot: The rules and settings in force; replaced as a whole.
        signer: Signs with the key of now, also for requests that began with another one: receivers know no other.
        guards_inbound: Whether a middleware of this engine cleans what comes in, so that gray members found in
            ambient baggage can only be ours.
        observers: Who is told of each request.
    """

    def __init__(
        self,
        settings: Settings,
        instances: Instances,
        *,
        clock: Callable[[], float] = time.time,
        entropy: Callable[[], str] = lambda: secrets.token_urlsafe(16),
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.entropy = entropy
        self.guards_inbound = False
        self.observers: tuple[Observer, ...] = ()
        self.signer = _signer(settings)
        self.directory = InstanceDirectory(instances, settings)
        self._lock = threading.Lock()
        self.snapshot = _snapshot(self._compile(RuleDocument()), settings)

    def adopt(self, document: RuleDocument) -> None:
        """Put a document in force for every request that begins from now on."""
        rules = self._compile(document)
        with self._lock:
            self.snapshot = _snapshot(rules, self.settings)

    def adopt_settings(self, settings: Settings) -> None:
        """Put settings in force for every request that begins from now on; those that last stay as they were.

        Raises:
            ValueError: They cannot be used; then nothing has changed.
        """
        with self._lock:
            before = self.settings
            settings = adopted(before, settings)
            snapshot = _snapshot(self.snapshot.rules, settings)
            if (settings.secret, settings.signature_ttl) != (before.secret, before.signature_ttl):
                self.signer = _signer(settings)
            self.directory.budget.share = settings.retry_budget
            self.settings = settings
            self.snapshot = snapshot

    def snapshot_for_request(self) -> Snapshot:
        """Snapshot for a request that begins now, which reads the headers that the propagator of now reads."""
        snapshot = self.snapshot
        return snapshot if snapshot.headers.propagation is tracing.propagation() else self._retuned()

    def _retuned(self) -> Snapshot:
        with self._lock:
            headers = select_headers(self.snapshot.rules.reads, self.snapshot.settings)
            self.snapshot = replace(self.snapshot, headers=headers)
            return self.snapshot

    def governing(self, service: str) -> Release | None:
        """Release that governs a service by the rules in force."""
        return self.snapshot.document.governing(service)

    def _compile(self, document: RuleDocument) -> RuleSet:
        return compile_rules(
            document,
            service=self.settings.service,
            clock=self.clock,
            entropy=self.entropy,
            on_error=_report_rule_error,
        )


def _snapshot(rules: RuleSet, settings: Settings) -> Snapshot:
    releases = rules.document.releases
    named = {service for release in releases for service in release.services or ()}
    return Snapshot(
        rules=rules,
        settings=settings,
        headers=select_headers(rules.reads, settings),
        egress=EgressPolicy({*settings.services, *named}, settings.egress),
        may_refuse=any(release.fallback == "refuse" for release in releases)
        or bool(settings.services)
        or settings.registry != "static",
        service=settings.service,
        stable_elsewhere=settings.stable_version if settings.stable_version_set else None,
        feature_flags=settings.feature_flags,
    )


def _signer(settings: Settings) -> Signer | None:
    return Signer(settings.secret, settings.signature_ttl) if settings.secret else None


def _report_rule_error(release: str, rule: str, error: BaseException) -> None:
    counters.count("rules.error")
    counters.once(
        log,
        f"rule:{release}:{rule}:{type(error).__name__}",
        logging.INFO,
        "rule %s of release %s failed and did not match: %s",
        rule,
        release,
        _told(error),
    )


def _told(error: BaseException) -> str:
    """What went wrong, without any value of the request."""
    if isinstance(error, EvaluationError):
        return error.told
    return str(error) if isinstance(error, _ABOUT_THE_DOCUMENT) else type(error).__name__
