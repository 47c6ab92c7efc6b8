"""This process in the registry: registered once it serves, kept alive, restored, taken out when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Final

from graymw.core.instance_metadata import instance_from_metadata
from graymw.core.instances import Instance
from graymw.errors import GrayError
from graymw.runtime import counters
from graymw.runtime.address_members import AddressMembers
from graymw.runtime.backoff import Backoff
from graymw.runtime.forks import forks
from graymw.runtime.own_address import Address, listening, own_address
from graymw.runtime.ports import Registrar
from graymw.runtime.watching import Watch, WatchThread, watch_thread
from graymw.settings.schema import Settings

log = logging.getLogger("graymw.registry")

LEAVE_SECONDS: Final = 3.0
"""How long the end of the process waits for the registry to take the instance out."""

READY_SECONDS: Final = 12.0
"""How long each attempt to register waits for the registry to tell what is looked up there, as who may register may be
forbidden to look. Longer than the keeper of instances waits between two attempts: both begin anew after an outage."""

LOOK_SECONDS: Final = 0.1
PATIENCE_SECONDS: Final = 10.0
"""How long a process may serve nothing before it is told what is missing."""

REVISION_KEY: Final = "gray-rev"
"""Metadata that tells which rules an instance obeys; ``graymw status`` reads it over the whole fleet."""

SPEAKER_SECONDS: Final = 0.5
"""How often a process that does not speak for its address asks whether it has to."""

STAND_BACK_SECONDS: Final = 5.0
"""How long a process that has forked workers waits, while none of them serves, until it counts as serving itself."""


class Registration:
    """Keeps this process registered.

    Args:
        settings: Who this process is.
        registrar: The registry.
        registry_host: Where that is; tells which of several own addresses it can reach.
        directory: Where processes of one address find each other; None: each stands alone.
        revision: Revision of the rules in force; empty without. A change is told with the next heartbeat.
        ready: Whether this process knows where to send its own calls; before that it asks for none, for a while.
        thread: Who does the waiting.

    Attributes:
        instance: What is registered; None before the address is known.
        last_error: Why it is not registered; empty where it is.
    """

    def __init__(
        self,
        settings: Settings,
        registrar: Registrar,
        *,
        registry_host: str = "",
        directory: Path | None = None,
        revision: Callable[[], str] = lambda: "",
        ready: Callable[[], bool] = lambda: True,
        thread: WatchThread = watch_thread,
    ) -> None:
        self.instance: Instance | None = None
        self.last_error = ""
        self._settings = settings
        self._registrar = registrar
        self._registry_host = registry_host
        self._directory = directory
        self._revision = revision
        self._ready = ready
        self._thread = thread
        self._watch: Watch | None = None
        self._members: AddressMembers | None = None
        self._pid = os.getpid()
        self._workers_before = 0

    def start(self) -> None:
        """Register as soon as this process serves. Waits for nothing."""
        if self._watch is None:
            self._workers_before = forks.workers
            self._watch = self._thread.run(self._follow, name=f"registration in {self._registrar.name}")

    def stop(self) -> bool:
        """Take the instance out, unless another process serves its address; waits for seconds at most.

        Returns:
            Whether it is out now.
        """
        watch, self._watch = self._watch, None
        if watch is None or self._pid != os.getpid():
            return False
        watch.cancel()
        members, self._members = self._members, None
        if self.instance is None or members is None or not members.leave():
            return False
        if self._thread.call(lambda: self._leave(watch), LEAVE_SECONDS):
            log.info("%s left %s", _told(self.instance), self._registrar.name)
            return True
        counters.count("registry.left_behind")
        log.warning("%s could not be taken out of %s in time", _told(self.instance), self._registrar.name)
        return False

    async def _leave(self, watch: Watch) -> None:
        if watch.task is not None:  # it may be registering this very moment, and lets go of its connections afterwards
            await asyncio.wait([watch.task])
        if self.instance is not None:
            try:
                await self._registrar.deregister(self.instance)
            finally:
                await self._registrar.close()

    async def _follow(self) -> None:
        if self._pid != os.getpid():  # forked: the parent's locks and registration are its own
            self._pid = os.getpid()
            self._workers_before = forks.workers
            self.instance = None
        if self._members is not None:
            self._members.close()
            self._members = None
        if forks.is_helper:
            return
        address = await self._address()
        instance = self._described(address)
        common = f"{self._registrar.name} {instance.service} {instance.authority}"
        if forks.workers > self._workers_before:
            self.instance = None
            await self._stand_back(common)
        self._members = AddressMembers(self._directory, common)
        self.instance = instance
        try:
            while not self._members.speak():  # noqa: ASYNC110 - locks of the kernel call nobody back
                await asyncio.sleep(SPEAKER_SECONDS)
            await self._keep(address)
        finally:
            with contextlib.suppress(Exception):
                await self._registrar.close()

    async def _stand_back(self, common: str) -> None:
        """Leave the registration to the workers that this process has forked, as long as there are any."""
        alone = 0.0
        while alone < STAND_BACK_SECONDS:
            await asyncio.sleep(SPEAKER_SECONDS)
            served = not listening() or AddressMembers.any(self._directory, common)
            alone = 0.0 if served else alone + SPEAKER_SECONDS

    async def _address(self) -> Address:
        """Where this process serves; waits until it does."""
        waited = 0.0
        while True:
            address = await asyncio.to_thread(own_address, self._settings.address, self._registry_host)
            if isinstance(address, Address):
                return address
            waited += LOOK_SECONDS
            if waited > PATIENCE_SECONDS and address != self.last_error:
                self.last_error = address
                log.warning("not registered in %s: %s", self._registrar.name, address)
            await asyncio.sleep(LOOK_SECONDS if waited < PATIENCE_SECONDS else 1.0)

    def _described(self, address: Address) -> Instance:
        settings = self._settings
        own = {
            "version": settings.version,
            "weight": str(settings.weight),
            "zone": settings.zone,
            REVISION_KEY: self._revision(),
        }
        metadata = MappingProxyType({**settings.metadata, **{key: value for key, value in own.items() if value}})
        return instance_from_metadata(settings.service, address.host, address.port, metadata, tls=address.tls)

    async def _keep(self, address: Address) -> None:
        """Register, then keep alive, for ever; after each trouble anew. The waits differ between processes."""
        backoff = Backoff(first=0.2, cap=max(1.0, self._registrar.heartbeat_seconds))
        registered: Instance | None = None
        while True:
            instance = self.instance = self._described(address)
            try:
                if registered != instance:
                    await self._until_ready()
                    await self._registrar.register(instance)
                    if registered is None:
                        log.info("%s registered in %s", _told(instance), self._registrar.name)
                    registered, self.last_error = instance, ""
                    backoff.reset()
                await asyncio.sleep(self._registrar.heartbeat_seconds * random.uniform(0.8, 1.0))  # noqa: S311
                known = await self._registrar.heartbeat(instance)
                self.last_error = ""
                if not known:
                    registered = None
                    counters.count("registry.restored")
                    log.warning("%s has lost %s, which registers again", self._registrar.name, _told(instance))
            except Exception as error:  # noqa: BLE001 - whatever a registry does, the process goes on serving
                self._trouble(error)
                await asyncio.sleep(backoff.next())

    async def _until_ready(self) -> None:
        waited = 0.0
        while not self._ready() and waited < READY_SECONDS:
            await asyncio.sleep(LOOK_SECONDS)
            waited += LOOK_SECONDS

    def _trouble(self, error: Exception) -> None:
        told = str(error) if isinstance(error, GrayError) else repr(error)
        counters.count("registry.error")
        if told != self.last_error:
            self.last_error = told
            log.warning("%s", told)


def _told(instance: Instance) -> str:
    version = f" {instance.version}" if instance.version else ""
    return f"{instance.service}{version} at {instance.authority}"
