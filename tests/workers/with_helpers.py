"""A server of one process that has forked a pool of helpers: ``python with_helpers.py PORT``."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
from wsgiref.simple_server import make_server

from service import wsgi


def work(_number: int) -> None:
    time.sleep(0.01)


with make_server("127.0.0.1", int(sys.argv[1]), wsgi) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        while True:
            pool.map(work, range(4))
            time.sleep(0.2)
