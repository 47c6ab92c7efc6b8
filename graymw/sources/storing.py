"""Which rule source can be written to, and by what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from graymw.errors import MissingExtraError, Problem, SettingsError
from graymw.runtime.ports import RuleStore
from graymw.settings.schema import Settings
from graymw.sources.choosing import scheme_of
from graymw.sources.file_store import FileStore

Factory: TypeAlias = Callable[[str, Settings], RuleStore]


def _consul(url: str, settings: Settings) -> RuleStore:
    from graymw.sources.consul_store import ConsulStore  # noqa: PLC0415 - only where it is used

    return ConsulStore(url, settings.rules_access)


def _etcd(url: str, settings: Settings) -> RuleStore:
    from graymw.sources.etcd_store import EtcdStore  # noqa: PLC0415 - only where it is used

    return EtcdStore(url, settings.rules_access)


def _nacos(url: str, settings: Settings) -> RuleStore:
    from graymw.sources.nacos_store import NacosStore  # noqa: PLC0415 - only where it is used

    return NacosStore(url, settings.rules_access)


def _redis(url: str, settings: Settings) -> RuleStore:
    from graymw.sources.redis_store import RedisStore  # noqa: PLC0415 - only where it is used

    return RedisStore(url, settings.rules_access)


STORES: Final[dict[str, Factory]] = {
    "consul": _consul,
    "etcd": _etcd,
    "file": lambda url, _settings: FileStore(url),
    "nacos": _nacos,
    "redis": _redis,
    "rediss": _redis,
}
"""Makers of stores by URL scheme; what follows a ``+`` (``etcd+https``) is left to the maker."""


def store_for(settings: Settings) -> RuleStore:
    """The store behind ``GRAYMW_RULES``.

    Raises:
        SettingsError: No rules are set, what they are in cannot be written to, the URL names what cannot be, or the
            library that speaks to it is not installed.
    """
    if not settings.rules:
        raise SettingsError([Problem("GRAYMW_RULES", "no rules are set", "set it, or give --rules FILE or URL")])
    scheme = scheme_of(settings.rules)
    maker = STORES.get(scheme)
    if maker is None:
        known = ", ".join(f"{name}:" for name in sorted(STORES))
        mend = f"change the document where it comes from, or keep it in one of {known}"
        raise SettingsError([Problem("GRAYMW_RULES", f"rules in {scheme}: cannot be written by graymw", mend)])
    try:
        return maker(settings.rules, settings)
    except MissingExtraError as error:
        mend = f"pip install 'graymw[{error.extra}]'"
        raise SettingsError([Problem("GRAYMW_RULES", f"{error.library} is not installed", mend)]) from error
