"""This process as an instance in Consul: registered with the local agent, kept healthy by a TTL check."""

from __future__ import annotations

import logging
import re
from typing import Final
from urllib.parse import quote

from graymw.core.instances import Instance
from graymw.registries.consul import SETTING, registry_url
from graymw.registries.consul_entries import check_of, definition_of, identity_of, unfit_metadata
from graymw.remote.consul import ConsulClient
from graymw.remote.http import require
from graymw.remote.loop_bound import LoopBound
from graymw.runtime import counters
from graymw.settings.access import Access

log = logging.getLogger("graymw.registry")

TTL_SECONDS: Final = 15.0
"""How long an instance counts as healthy without a heartbeat."""

_FORGOTTEN_AFTER: Final = "1m"
"""How long a lapsed instance stays in the agent: the shortest that Consul takes."""

_HEARTBEATS_PER_TTL: Final = 3
_NO_CHECK: Final = re.compile(r"unknown check|does not have associated ttl", re.IGNORECASE)
_NO_SERVICE: Final = re.compile(r"unknown service", re.IGNORECASE)


class ConsulRegistrar:
    """Registers instances with the agent of the URL.

    Args:
        url: As for ``ConsulServices``; its tag is carried by what is registered.
        access: Token and certificates.
        ttl: Seconds without a heartbeat after which an instance no longer counts as healthy.

    Raises:
        SettingsError: The URL is no such URL.
        MissingExtraError: The HTTP library is not installed.
    """

    def __init__(self, url: str, access: Access, *, ttl: float = TTL_SECONDS) -> None:
        require("consul")
        self._url = registry_url(url)
        self._ttl = ttl
        self._client = LoopBound(lambda: ConsulClient(self._url, access, setting=SETTING))

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return self._url.shown

    @property
    def heartbeat_seconds(self) -> float:
        """How often ``heartbeat`` is due."""
        return self._ttl / _HEARTBEATS_PER_TTL

    async def register(self, instance: Instance) -> None:
        """Make the instance known; again for one that is known already, with what may have changed about it.

        Raises:
            SourceError: The agent cannot be reached, or refuses.
        """
        client = self._client.get()
        unfit = unfit_metadata(instance)
        if unfit:
            told = "consul takes no such metadata, registered without it: %s"
            counters.once(log, f"consul:metadata:{unfit}", logging.WARNING, told, ", ".join(unfit))
        tag = self._url.query.get("tag", "")
        body = definition_of(instance, tag=tag, ttl=self._ttl, forgotten_after=_FORGOTTEN_AFTER)
        answer = await client.ask("PUT", "/v1/agent/service/register", json=body)
        if answer.status != 200:
            raise client.trouble(answer)

    async def heartbeat(self, instance: Instance) -> bool:
        """Keep the instance healthy. False: the agent no longer knows it, so it must be registered again.

        Raises:
            SourceError: The agent cannot be reached, or refuses.
        """
        client = self._client.get()
        answer = await client.ask("PUT", f"/v1/agent/check/pass/{quote(check_of(instance), safe='')}")
        if answer.status == 200:
            return True
        if answer.status == 404 or (answer.status == 500 and _NO_CHECK.search(answer.text)):
            return False
        raise client.trouble(answer)

    async def deregister(self, instance: Instance) -> None:
        """Take the instance out; no error where it is out already.

        Raises:
            SourceError: The agent cannot be reached, or refuses.
        """
        client = self._client.get()
        answer = await client.ask("PUT", f"/v1/agent/service/deregister/{quote(identity_of(instance), safe='')}")
        is_out = answer.status in (200, 404) or (answer.status == 500 and _NO_SERVICE.search(answer.text))
        if not is_out:
            raise client.trouble(answer)

    async def close(self) -> None:
        """Let go of connections; what is registered stays so."""
        client = self._client.take()
        if client is not None:
            await client.close()
