"""One etcd cluster: where it is, and who we are to it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from graymw.remote.etcd.login import Login
from graymw.remote.etcd.session import Session
from graymw.remote.http import require
from graymw.remote.url import BackendUrl, parse_backend_url
from graymw.settings.access import Access

PORT: Final = 2379


class Cluster:
    """A cluster, and who we are to it. Holds nothing of an event loop.

    Args:
        url: ``etcd://HOST:2379,HOST:2379/PATH``; ``etcd+https`` for TLS.
        access: User, password, token and certificates; a user in the URL counts where they have none.
        setting: ``GRAYMW_REGISTRY`` or ``GRAYMW_RULES``.
        parameters: Query parameters that mean something.
        example: A right URL, for errors.

    Attributes:
        url: The URL, taken apart.

    Raises:
        SettingsError: The URL is no such URL.
        MissingExtraError: The HTTP library is not installed.
    """

    def __init__(
        self, url: str, access: Access, *, setting: str, parameters: Collection[str] = (), example: str
    ) -> None:
        require("etcd")
        self.url: BackendUrl = parse_backend_url(
            url, setting=setting, default_port=PORT, parameters=parameters, example=example
        )
        self._access = access.with_login(self.url.user, self.url.password)
        self._login = Login(self._access, setting)

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return self.url.shown

    @property
    def token(self) -> str:
        """What a log-in gave; empty before the first."""
        return self._login.token

    def session(self) -> Session:
        """Connections of the running event loop."""
        return Session(self.url.base_urls, self._access, self._login)
