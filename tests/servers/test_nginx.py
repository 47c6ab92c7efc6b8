"""The HTTP rule source against a real nginx, beyond the laws of all sources."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import certificates
from real_nginx import Nginx

from graymw.errors import SourceError
from graymw.settings.access import Access
from graymw.sources.http import HttpSource

DEADLINE = 10.0
PAGE = "rules.yaml"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Nginx]:
    server = Nginx(tmp_path)
    server.start()
    yield server
    server.stop()


def age(server: Nginx, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(server.pages / PAGE, (then, then))


def test_a_document_that_has_not_changed_is_not_sent_again(server: Nginx) -> None:
    server.write(PAGE, "a")
    age(server, 60)

    async def run() -> None:
        changes = HttpSource(f"{server.url}/{PAGE}", Access(), poll=0.01).watch()
        await anext(changes)
        more = asyncio.ensure_future(anext(changes))
        async with asyncio.timeout(DEADLINE):
            while len(server.statuses) < 5:
                await asyncio.wait([more], timeout=0.01)
        server.write(PAGE, "b")
        assert (await asyncio.wait_for(more, DEADLINE)).text == b"b"
        await changes.aclose()

    asyncio.run(run())
    assert server.statuses[:5] == [200, 304, 304, 304, 304]


def test_a_change_that_nginx_cannot_tell_by_its_tag_is_seen(server: Nginx) -> None:
    """Same size, same second: its ETag, made of both, is the same."""
    server.write(PAGE, "a")
    now = time.time()
    os.utime(server.pages / PAGE, (now, now))

    async def run() -> None:
        changes = HttpSource(f"{server.url}/{PAGE}", Access(), poll=0.2).watch()
        assert (await anext(changes)).text == b"a"
        server.write(PAGE, "b")
        os.utime(server.pages / PAGE, (now, now))
        assert (await asyncio.wait_for(anext(changes), DEADLINE)).text == b"b"
        await changes.aclose()

    asyncio.run(run())


def test_tls_is_checked(tmp_path: Path) -> None:
    made = certificates(tmp_path)
    server = Nginx(tmp_path, certificates=made)
    server.start()
    try:
        server.write(PAGE, "a")

        def loaded(access: Access) -> object:
            return asyncio.run(HttpSource(f"{server.url}/{PAGE}", access).load()).text

        cert, key = str(made.cert), str(made.key)
        assert loaded(Access(ca=str(made.ca), cert=cert, key=key)) == b"a"
        assert loaded(Access(verify=False, cert=cert, key=key)) == b"a"
        with pytest.raises(SourceError, match=r"cannot be reached .*certificate verify failed"):
            loaded(Access(cert=cert, key=key))
        with pytest.raises(SourceError, match="400"):
            loaded(Access(ca=str(made.ca)))
    finally:
        server.stop()
