"""A process that looks up and forks, four times: ``python forking_nacos.py URL ACCESS``; each tells what it sees."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator

from waiting import eventually

from graymw.core.instances import Instance
from graymw.registries.nacos import NacosServices
from graymw.runtime.instance_keeper import InstanceKeeper
from graymw.settings.access import Access

SECONDS = 20
forks = 0
reports: dict[tuple[int, int], tuple[Instance, ...]] = {}


class ToldServices(NacosServices):
    """Remembers which process took a report, after how many forks: what was inherited proves nothing."""

    async def watch(self, service: str) -> AsyncIterator[tuple[Instance, ...]]:
        async for report in super().watch(service):
            reports[os.getpid(), forks] = report
            yield report


def tell() -> None:
    eventually(lambda: reports.get((os.getpid(), forks)), SECONDS)
    print(*(instance.port for instance in reports[os.getpid(), forks]), flush=True)


keeper = InstanceKeeper(ToldServices(sys.argv[1], Access(**json.loads(sys.argv[2])), poll_seconds=3600))
keeper.want(["orders"])
keeper.start()
tell()
for forks in range(1, 5):  # noqa: B007 - read by everything above
    child = os.fork()
    tell()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
