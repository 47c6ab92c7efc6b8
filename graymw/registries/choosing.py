"""Which registry a setting means."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NoReturn, TypeAlias

from graymw.errors import MissingExtraError, Problem, SettingsError
from graymw.registries.static import StaticRegistry
from graymw.runtime.instance_keeper import HOLD_SECONDS, InstanceKeeper
from graymw.runtime.ports import InstanceSource, Registrar, Registry
from graymw.settings.schema import Settings

SourceFactory: TypeAlias = Callable[[str, Settings], InstanceSource]
RegistrarFactory: TypeAlias = Callable[[str, Settings], Registrar]

STATIC: Final = "static"


def _dns(url: str, _settings: Settings) -> InstanceSource:
    from graymw.registries.dns import DnsRegistry  # noqa: PLC0415 - only where it is used

    return DnsRegistry(url)


def _etcd_services(url: str, settings: Settings) -> InstanceSource:
    from graymw.registries.etcd import EtcdServices  # noqa: PLC0415 - only where it is used

    return EtcdServices(url, settings.registry_access)


def _etcd_registrar(url: str, settings: Settings) -> Registrar:
    from graymw.registries.etcd import EtcdRegistrar  # noqa: PLC0415 - only where it is used

    return EtcdRegistrar(url, settings.registry_access)


def _consul_services(url: str, settings: Settings) -> InstanceSource:
    from graymw.registries.consul import ConsulServices  # noqa: PLC0415 - only where it is used

    return ConsulServices(url, settings.registry_access)


def _consul_registrar(url: str, settings: Settings) -> Registrar:
    from graymw.registries.consul_registrar import ConsulRegistrar  # noqa: PLC0415 - only where it is used

    return ConsulRegistrar(url, settings.registry_access)


def _kubernetes_services(url: str, settings: Settings) -> InstanceSource:
    from graymw.registries.kubernetes.source import KubernetesServices  # noqa: PLC0415 - only where it is used

    return KubernetesServices(url, settings.registry_access)


def _nacos_services(url: str, settings: Settings) -> InstanceSource:
    from graymw.registries.nacos import NacosServices  # noqa: PLC0415 - only where it is used

    return NacosServices(url, settings.registry_access)


def _nacos_registrar(url: str, settings: Settings) -> Registrar:
    from graymw.registries.nacos_registrar import NacosRegistrar  # noqa: PLC0415 - only where it is used

    return NacosRegistrar(url, settings.registry_access)


SOURCES: Final[dict[str, SourceFactory]] = {
    "consul": _consul_services,
    "dns": _dns,
    "etcd": _etcd_services,
    "kubernetes": _kubernetes_services,
    "nacos": _nacos_services,
}
"""Makers of registries to look instances up in, by URL scheme; what follows a ``+`` (``consul+https``) is theirs."""

REGISTRARS: Final[dict[str, RegistrarFactory]] = {
    "consul": _consul_registrar,
    "etcd": _etcd_registrar,
    "nacos": _nacos_registrar,
}
"""Makers of registries to stand in."""


def registry_for(settings: Settings) -> Registry:
    """The registry that instances are looked up in.

    Raises:
        SettingsError: No registry speaks the scheme of ``GRAYMW_REGISTRY``, the URL is wrong, or the library that
            speaks to it is not installed.
    """
    scheme = _scheme(settings)
    if scheme == STATIC:
        return StaticRegistry(settings.services)
    maker = SOURCES.get(scheme)
    if maker is None:
        _refuse(f"no registry is called {scheme}", f"write one of: {', '.join(sorted((STATIC, *SOURCES)))}")
    with _complete():
        source = maker(settings.registry, settings)
    hold_seconds = getattr(source, "hold_seconds", HOLD_SECONDS)
    return InstanceKeeper(source, services=settings.discover, hold_seconds=hold_seconds)


def registrar_for(settings: Settings) -> Registrar | None:
    """The registry that this process registers in; None where it is not to register.

    Raises:
        SettingsError: As ``registry_for``, or ``GRAYMW_REGISTRY`` is none that a process can register in.
    """
    if not settings.register:
        return None
    scheme = _scheme(settings)
    maker = REGISTRARS.get(scheme)
    if scheme == "kubernetes":
        _refuse("Kubernetes knows its pods without being told", "unset GRAYMW_REGISTER", "REGISTER")
    if maker is None:
        known = ", ".join(f"{name}:" for name in sorted(REGISTRARS))
        _refuse(
            f"nothing registers in {scheme} by itself",
            f"unset it, or set GRAYMW_REGISTRY to one of {known}",
            "REGISTER",
        )
    with _complete():
        return maker(settings.registry, settings)


@contextmanager
def _complete() -> Iterator[None]:
    """Tell a missing library as what is wrong with the setting that asks for it."""
    try:
        yield
    except MissingExtraError as error:
        mend = f"pip install 'graymw[{error.extra}]'"
        raise SettingsError([Problem("GRAYMW_REGISTRY", f"{error.library} is not installed", mend)]) from error


def _scheme(settings: Settings) -> str:
    return settings.registry.partition(":")[0].partition("+")[0].lower()


def _refuse(message: str, mend: str, setting: str = "REGISTRY") -> NoReturn:
    raise SettingsError([Problem(f"GRAYMW_{setting}", message, mend)])
