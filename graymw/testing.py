"""pytest plugin: forced versions, and calls that lost their context. pytest finds it once graymw is installed.

- Fixture ``gray``: ``with gray.use("checkout", "v2"):`` forces a version for the code inside;
  ``client.get("/", headers=gray.headers("checkout", "v2"))`` for the application behind a test client.
- Marker ``@pytest.mark.gray(checkout="v2")``: the same for a whole test, class or module.
- Fixture ``gray_strict_context``: fails the test where a client call was made in a thread or task that did not take the
  request's context along.

Nothing of graymw is left over from one test to the next: default engine, current context and counters are put back.
Tests that use none of this cost next to nothing, and nothing of graymw is loaded for them.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from graymw.core.context import GrayContext
    from graymw.runtime.engine import Engine

STABLE: Final = "v1"
"""What counts as stable in a test without an application and rules of its own."""

_of_the_test: Final[ContextVar[bool]] = ContextVar("graymw_of_the_test", default=False)
"""Set in the test's own context, to tell calls made by the test from those of the application."""


class Gray:
    """What the fixture ``gray`` gives. Releases need not be known: without rules, v1 counts as stable."""

    def use(self, release: str, version: str) -> AbstractContextManager[GrayContext]:
        """Force the version of one release for the code inside.

        Raises:
            ValueError: ``release`` or ``version`` has characters that may not travel.
        """
        from graymw.runtime.current import override  # noqa: PLC0415 - the plugin itself loads nothing

        return override(_engine(), release, version)

    def headers(self, release: str | None = None, version: str | None = None) -> dict[str, str]:
        """Headers that a test client sends so that the application inherits a decision, signed where it asks for that.

        Args:
            release: Which release to force besides what is in force already; None: none.
            version: Its version.

        Raises:
            ValueError: As in ``use``, or one of the two is missing.
        """
        from graymw.core.context import SIGNATURE_KEY  # noqa: PLC0415

        if (release is None) != (version is None):
            raise ValueError("give both, a release and a version, such as gray.headers('checkout', 'v2')")
        if release is not None and version is not None:
            with self.use(release, version) as context:
                text = context.wire
        else:
            text = self.current().wire
        signer = _engine().signer
        if text and signer is not None:
            text = f"{text},{SIGNATURE_KEY}={signer.signature(text, _engine().clock())}"
        return {"baggage": text} if text else {}

    def current(self) -> GrayContext:
        """The gray context in force; as ``graymw.current()``."""
        from graymw.runtime.current import current  # noqa: PLC0415

        return current()


def _engine() -> Engine:
    """Engine of the work at hand or of the application installed last; else one without any rules."""
    from graymw.runtime.current import current_carried, default_engine  # noqa: PLC0415

    carried = current_carried()
    return (carried.engine if carried is not None else default_engine()) or _bare_engine()


@functools.cache
def _bare_engine() -> Engine:
    from graymw.registries.static import StaticRegistry  # noqa: PLC0415
    from graymw.runtime.engine import Engine  # noqa: PLC0415
    from graymw.settings.schema import Settings  # noqa: PLC0415

    settings = Settings.from_mapping({"service": "tests", "stable_version": STABLE}, environ={})
    return Engine(settings, StaticRegistry(settings.services))


@dataclass(frozen=True, slots=True)
class LostCall:
    """A client call without a gray context.

    Attributes:
        place: File, line and function of the call.
        thread: Name of the thread that made it.
        mend: How it lost its context and what to do about it; empty where that is not known.
    """

    method: str
    host: str
    path: str
    place: str
    thread: str
    mend: str = ""

    def __str__(self) -> str:
        told = f"{self.method} {self.host}{self.path}  in thread {self.thread}, {self.place}"
        return f"{told}\n    {self.mend}" if self.mend else told


class StrictContext:
    """What the fixture ``gray_strict_context`` gives.

    Attributes:
        calls: Calls without a gray context that were not made by the test itself, so far.
    """

    def __init__(self) -> None:
        self.calls: list[LostCall] = []
        self._allowed: set[str] = set()

    def allow(self, *hosts: str) -> None:
        """Do not mind calls to these hosts, such as those of a background job that belongs to no request."""
        self._allowed.update(host.lower() for host in hosts)

    def told(self, method: str, host: str, path: str) -> None:
        """A call was made without a gray context."""
        from graymw.runtime.call_site import call_site  # noqa: PLC0415
        from graymw.runtime.current import REQUEST  # noqa: PLC0415
        from graymw.runtime.lost_context import ORIGIN  # noqa: PLC0415

        if host.lower() in self._allowed or (_of_the_test.get() and REQUEST.get() is None):
            return
        origin = ORIGIN.get()
        mend = "" if origin is None else origin.mend
        self.calls.append(LostCall(method, host, path, call_site(), threading.current_thread().name, mend))

    def check(self) -> None:
        """Fail the test where calls were lost since the last check."""
        lost, self.calls = self.calls, []
        if not lost:
            return
        head = "1 call was" if len(lost) == 1 else f"{len(lost)} calls were"
        pytest.fail(
            "\n".join(
                [
                    f"{head} made without the gray context of a request:",
                    *(f"  {call}" for call in lost),
                    "Start such work with graymw.GrayThread, graymw.GrayThreadPoolExecutor or graymw.carry(function);",
                    f'for work that belongs to no request: gray_strict_context.allow("{lost[0].host}").',
                ]
            ),
            pytrace=False,
        )


_strict_key: Final = pytest.StashKey[StrictContext]()


@pytest.fixture
def gray() -> Gray:
    """Forces versions: ``with gray.use("checkout", "v2"):``, ``gray.headers("checkout", "v2")``, ``gray.current()``."""
    return Gray()


@pytest.fixture
def gray_strict_context(request: pytest.FixtureRequest) -> Iterator[StrictContext]:
    """Fails the test where a client call leaves through graymw without the gray context of a request.

    Calls that the test itself makes do not count, ``gray_strict_context.allow("host")`` exempts more.
    """
    from graymw.clients import handovers  # noqa: PLC0415
    from graymw.runtime import outbound  # noqa: PLC0415

    strict = StrictContext()
    request.node.stash[_strict_key] = strict
    outbound.uncarried.append(strict.told)
    token = _of_the_test.set(True)
    handovers.watch()
    try:
        yield strict
    finally:
        handovers.unwatch()
        _of_the_test.reset(token)
        outbound.uncarried.remove(strict.told)
    strict.check()


@pytest.fixture(autouse=True)
def _gray_isolation(request: pytest.FixtureRequest) -> Iterator[None]:
    """Forces what the markers say, and puts back what the test changed."""
    forced = forced_versions(request.node)
    with _isolated(), ExitStack() as stack:
        for release, version in forced.items():
            stack.enter_context(Gray().use(release, version))
        yield


@contextmanager
def _isolated() -> Iterator[None]:
    before = sys.modules.get("graymw.runtime.current")
    engine = before.default_engine() if before is not None else None
    ambient = before.otel_context.get_current() if before is not None else {}
    request = before.REQUEST.get() if before is not None else None
    try:
        yield
    finally:
        current, counters = sys.modules.get("graymw.runtime.current"), sys.modules.get("graymw.runtime.counters")
        if current is not None:
            current.set_default_engine(engine)
            current.REQUEST.set(request)
            if current.otel_context.get_current().get(current.CARRIED_KEY) is not ambient.get(current.CARRIED_KEY):
                current.otel_context.attach(current.Context(ambient))
        if counters is not None:
            counters.reset()


def forced_versions(node: pytest.Item) -> dict[str, str]:
    """Version by release, as the markers of a test say; the nearest one counts."""
    forced: dict[str, str] = {}
    for marker in reversed(list(node.iter_markers("gray"))):
        for given in (*marker.args, marker.kwargs):
            if not isinstance(given, Mapping) or not all(isinstance(value, str) for value in given.values()):
                pytest.fail(
                    f"{given!r} in a gray marker names no versions; write @pytest.mark.gray(checkout='v2'), "
                    "or @pytest.mark.gray({'my-release': 'v2'})",
                    pytrace=False,
                )
            forced.update(given)
    return forced


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "gray(release=version, ...): force versions of gray releases for the test")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Coroutine tests may run in a task that began before the fixtures: what is in force goes inside."""
    function = pyfuncitem.obj
    forced, strict = forced_versions(pyfuncitem), _strict_key in pyfuncitem.stash
    if not inspect.iscoroutinefunction(function) or not (forced or strict):
        return (yield)
    pyfuncitem.obj = _inside(function, forced)
    try:
        return (yield)
    finally:
        pyfuncitem.obj = function


def _inside(function: Callable[..., Awaitable[Any]], forced: Mapping[str, str]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(function)
    async def test(*args: Any, **kwargs: Any) -> Any:
        token = _of_the_test.set(True)
        try:
            with ExitStack() as stack:
                for release, version in forced.items():
                    stack.enter_context(Gray().use(release, version))
                return await function(*args, **kwargs)
        finally:
            _of_the_test.reset(token)

    return test


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A test that lost calls has failed, whatever it asserted."""
    result = yield
    strict = item.stash.get(_strict_key, None)
    if strict is not None:
        strict.check()
    return result
