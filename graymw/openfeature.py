"""A release read as an OpenFeature flag.

::

    from openfeature import api
    api.set_provider(graymw.openfeature.GrayProvider())
    api.get_client().get_string_value("checkout", "v1")     # the version
    api.get_client().get_boolean_value("checkout", False)   # whether it is gray

The flag key is the release's name, the variant its version. Within a request the answer is the request's own decision;
elsewhere it is decided from the evaluation context. Needs ``pip install 'graymw[openfeature]'``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from os import PathLike
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

from graymw.bootstrap import engine_for, settings_or_off
from graymw.core.context import Decision, Reason
from graymw.core.facts import RequestFacts
from graymw.core.feature_flag import PROVIDER
from graymw.core.ruleset import RuleSet
from graymw.errors import MissingExtraError
from graymw.loading import load_rules
from graymw.runtime.current import current, default_engine
from graymw.runtime.live_facts import normal_host

try:
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.exception import FlagNotFoundError, TypeMismatchError
    from openfeature.flag_evaluation import FlagResolutionDetails
    from openfeature.flag_evaluation import Reason as FlagReason
    from openfeature.provider import AbstractProvider
    from openfeature.provider.metadata import Metadata
except ImportError as error:
    raise MissingExtraError("openfeature-sdk", "openfeature") from error

if TYPE_CHECKING:
    from openfeature.flag_evaluation import FlagValueType

Value = TypeVar("Value")

_REASONS: Final[Mapping[Reason, FlagReason]] = MappingProxyType(
    {
        "match": FlagReason.TARGETING_MATCH,
        "split": FlagReason.SPLIT,
        "default": FlagReason.DEFAULT,
        "inherited": FlagReason.CACHED,
        "override": FlagReason.STATIC,
        "disabled": FlagReason.DISABLED,
        "error": FlagReason.ERROR,
    }
)
_PLAIN_FACTS: Final = ("method", "path", "host", "user", "region", "device", "ip")
_MAPS: Final = ("headers", "cookies", "query")


class GrayProvider(AbstractProvider):
    """OpenFeature provider of gray releases.

    Args:
        rules: Compiled rules, the path of a rule document, or the document itself. Default: the rules of the
            application that graymw is installed in, else those that the environment names, as they change.

    Raises:
        RulesError: The document was refused.
        SourceError: The file cannot be read.
    """

    def __init__(self, rules: RuleSet | str | PathLike[str] | Mapping[str, object] | None = None) -> None:
        super().__init__()
        self._rules = rules if rules is None or isinstance(rules, RuleSet) else load_rules(rules)

    def get_metadata(self) -> Metadata:
        """Name of the provider."""
        return Metadata(name=PROVIDER)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """Version of a release.

        Raises:
            FlagNotFoundError: There is no such release.
        """
        del default_value
        decision = self._decision(flag_key, evaluation_context)
        return _details(decision.version, decision)

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """Whether the version of a release is gray.

        Raises:
            FlagNotFoundError: There is no such release.
        """
        del default_value
        decision = self._decision(flag_key, evaluation_context)
        return _details(decision.is_gray, decision)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """A release has no number: always an error."""
        raise self._mismatch(flag_key, evaluation_context, default_value)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """A release has no number: always an error."""
        raise self._mismatch(flag_key, evaluation_context, default_value)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """A release has no structure: always an error."""
        raise self._mismatch(flag_key, evaluation_context, default_value)

    def _decision(self, release: str, context: EvaluationContext | None) -> Decision:
        gray = current()
        decision = gray.decisions.get(release)
        if decision is not None:
            return decision
        rules = self._current_rules()
        if not any(known.name == release for known in rules.document.releases):
            known_names = ", ".join(known.name for known in rules.document.releases) or "none"
            raise FlagNotFoundError(f"there is no release {release!r}; known are: {known_names}")
        return rules.decide(facts_of(context), gray).decisions[release]

    def _current_rules(self) -> RuleSet:
        if self._rules is not None:
            return self._rules
        # Not before it is needed: an application that is installed meanwhile may bring settings of its own.
        engine = default_engine() or engine_for(settings_or_off(None))
        return engine.snapshot.rules

    def _mismatch(self, release: str, context: EvaluationContext | None, default: object) -> TypeMismatchError:
        self._decision(release, context)
        return TypeMismatchError(
            f"release {release!r} has no value of type {type(default).__name__}; ask for its version as a string, "
            "or for a boolean that says whether it is gray"
        )


def _details(value: Value, decision: Decision) -> FlagResolutionDetails[Value]:
    metadata: dict[str, bool | int | float | str] = {"gray": decision.is_gray}
    for name in ("stable", "rule", "revision"):
        told = getattr(decision, name)
        if told is not None:
            metadata[name] = told
    return FlagResolutionDetails(
        value=value, reason=_REASONS[decision.reason], variant=decision.version, flag_metadata=metadata
    )


def facts_of(context: EvaluationContext | None) -> RequestFacts:
    """Facts that an evaluation context tells.

    The targeting key is the user. The attributes ``method``, ``path``, ``host``, ``user``, ``region``, ``device`` and
    ``ip`` are those facts, and ``headers``, ``cookies`` and ``query`` those maps; any other counts as a header.
    """
    attributes = {} if context is None else context.attributes
    plain: dict[str, str] = {}
    maps: dict[str, dict[str, str]] = {name: {} for name in _MAPS}
    for name, value in attributes.items():
        if name in _MAPS and isinstance(value, Mapping):
            read = {key: text for key, inner in value.items() if (text := _text(inner)) is not None}
            maps[name].update({key.lower(): text for key, text in read.items()} if name == "headers" else read)
        elif (text := _text(value)) is not None and name in _PLAIN_FACTS:
            plain[name] = text
        elif text is not None:
            maps["headers"].setdefault(name.lower(), text)
    if context is not None and context.targeting_key:
        plain["user"] = context.targeting_key
    if "method" in plain:
        plain["method"] = plain["method"].upper()
    if "host" in plain:
        plain["host"] = normal_host(plain["host"])
    return RequestFacts(**plain, headers=maps["headers"], cookies=maps["cookies"], query=maps["query"])


def _text(value: object) -> str | None:
    """A scalar as rules compare it; None for anything else."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, str | int | float) else None
