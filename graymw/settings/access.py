"""How to log in at a config centre or registry: ``GRAYMW_RULES_TOKEN``, ``GRAYMW_REGISTRY_CA`` and their like."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Self

from graymw.settings import values


@dataclass(frozen=True, slots=True, repr=False)
class Access:
    """Credentials and TLS for one backend; empty where not set. Never shown.

    Attributes:
        user: Name for a log-in with ``password`` (etcd, Nacos, Redis, HTTP).
        password: Its password.
        token: A ready token (Consul, Kubernetes, HTTP bearer), or the path of a file that holds one, which may rotate.
        access_key: Name of the key that signs requests (Nacos).
        secret_key: The key itself (Nacos, Apollo).
        ca: Path of the certificates that a server's is checked against; empty: those of the system.
        cert: Path of the client's certificate.
        key: Path of its private key, where ``cert`` does not hold it.
        verify: False trusts any server.
    """

    user: str = ""
    password: str = ""
    token: str = ""
    access_key: str = ""
    secret_key: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""
    verify: bool = True

    @property
    def told(self) -> tuple[str, ...]:
        """Names of what is set."""
        return tuple(entry.name for entry in dataclasses.fields(self) if getattr(self, entry.name) not in ("", True))

    def __repr__(self) -> str:
        return f"Access({', '.join(self.told)})"

    def with_login(self, user: str, password: str) -> Self:
        """The same, logged in as a URL says where the settings say nothing."""
        if self.user or self.password or not (user or password):
            return self
        return dataclasses.replace(self, user=user, password=password)


def _hidden(value: object) -> str:
    """A string that no message repeats."""
    try:
        return values.text(value)
    except values.RefusedError:
        raise values.refused("it is no string", "write it in quotes") from None


READERS: Final[Mapping[str, Callable[[object], object]]] = MappingProxyType(
    {
        "user": values.text,
        "password": _hidden,
        "token": _hidden,
        "access_key": values.text,
        "secret_key": _hidden,
        "ca": values.name,
        "cert": values.name,
        "key": values.name,
        "verify": values.flag,
    }
)
"""Readers of the settings behind one prefix."""
