"""Which source a setting means."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from graymw.errors import MissingExtraError, Problem, SettingsError
from graymw.runtime.ports import RuleSource
from graymw.settings.schema import Settings
from graymw.sources.file import FileSource
from graymw.sources.short_form import ShortFormSource

Factory: TypeAlias = Callable[[str, Settings], RuleSource]


def _apollo(url: str, settings: Settings) -> RuleSource:
    from graymw.sources.apollo import ApolloSource  # noqa: PLC0415 - only where it is used

    return ApolloSource(url, settings.rules_access)


def _consul(url: str, settings: Settings) -> RuleSource:
    from graymw.sources.consul import ConsulSource  # noqa: PLC0415 - only where it is used

    return ConsulSource(url, settings.rules_access)


def _nacos(url: str, settings: Settings) -> RuleSource:
    from graymw.sources.nacos import NacosSource  # noqa: PLC0415 - only where it is used

    return NacosSource(url, settings.rules_access)


def _http(url: str, settings: Settings) -> RuleSource:
    from graymw.sources.http import HttpSource  # noqa: PLC0415 - only where it is used

    return HttpSource(url, settings.rules_access)


def _etcd(url: str, settings: Settings) -> RuleSource:
    from graymw.sources.etcd import EtcdSource  # noqa: PLC0415 - only where it is used

    return EtcdSource(url, settings.rules_access)


def _redis(url: str, settings: Settings) -> RuleSource:
    from graymw.sources.redis import RedisSource  # noqa: PLC0415 - only where it is used

    return RedisSource(url, settings.rules_access)


SCHEMES: Final[dict[str, Factory]] = {
    "apollo": _apollo,
    "consul": _consul,
    "etcd": _etcd,
    "file": lambda url, _settings: FileSource(url),
    "nacos": _nacos,
    "http": _http,
    "https": _http,
    "redis": _redis,
    "rediss": _redis,
}
"""Makers of sources by URL scheme; what follows a ``+`` (``etcd+https``) is left to the maker."""

_SCHEME: Final = re.compile(r"([a-z][a-z0-9.-]+)(?:\+[a-z0-9+]+)?:", re.IGNORECASE)  # one letter is a drive


def source_for(settings: Settings) -> RuleSource | None:
    """The source of the rule document; None where no rules are set.

    Raises:
        SettingsError: No source speaks the scheme of ``GRAYMW_RULES``, the URL names what cannot be, or the library
            that speaks to it is not installed.
    """
    if settings.rules:
        scheme = scheme_of(settings.rules)
        maker = SCHEMES.get(scheme)
        if maker is None:
            raise SettingsError([_unknown(scheme)])
        try:
            return maker(settings.rules, settings)
        except MissingExtraError as error:
            mend = f"pip install 'graymw[{error.extra}]'"
            raise SettingsError([Problem("GRAYMW_RULES", f"{error.library} is not installed", mend)]) from error
    return ShortFormSource(settings) if settings.short_form else None


def scheme_of(rules: str) -> str:
    """Scheme of a URL without what follows a ``+``, in lower case; a path is a ``file``."""
    scheme = _SCHEME.match(rules)
    return scheme[1].lower() if scheme is not None else "file"


def _unknown(scheme: str) -> Problem:
    known = ", ".join(f"{name}:" for name in sorted(SCHEMES))
    return Problem("GRAYMW_RULES", f"no rule source speaks {scheme}:", f"write a path, or a URL with one of {known}")
