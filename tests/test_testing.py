from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

import graymw
from graymw.bootstrap import engine_for
from graymw.runtime import counters, outbound
from graymw.runtime.current import default_engine
from graymw.settings.schema import Settings
from graymw.testing import Gray, StrictContext

pytest_plugins = ["pytester"]


class TestUse:
    def test_a_version_is_forced_inside_the_block(self, gray: Gray) -> None:
        with gray.use("checkout", "v2") as context:
            assert graymw.current() is context
            assert context.version("checkout") == "v2"
            assert context.decisions["checkout"].reason == "override"
        assert not graymw.current()

    def test_without_rules_v1_counts_as_stable(self, gray: Gray) -> None:
        with gray.use("checkout", "v2"):
            assert graymw.current().is_gray("checkout")
        with gray.use("checkout", "v1"):
            assert not graymw.current().is_gray("checkout")

    def test_with_an_application_its_rules_say_what_is_stable(self, gray: Gray, tmp_path: Path) -> None:
        path = tmp_path / "rules.yaml"
        path.write_text("{schema: 1, releases: {checkout: {stable: v2}}}")
        engine_for(Settings.from_mapping({"rules": str(path)}))
        with gray.use("checkout", "v2"):
            assert not graymw.current().is_gray("checkout")

    def test_blocks_add_up(self, gray: Gray) -> None:
        with gray.use("checkout", "v2"), gray.use("search", "v3"):
            assert graymw.current().wire == "gray.checkout=v2,gray.search=v3"

    def test_no_engine_and_no_settings_are_needed(self, gray: Gray, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GRAYMW_TRUST", "everyone")
        with gray.use("checkout", "v2"):
            assert default_engine() is None

    @pytest.mark.parametrize(("release", "version"), [("Check out", "v2"), ("checkout", "v 2"), ("checkout", "")])
    def test_what_cannot_travel_is_refused(self, gray: Gray, release: str, version: str) -> None:
        with pytest.raises(ValueError, match="not a release and version"):
            gray.use(release, version).__enter__()


class TestHeaders:
    def test_they_carry_a_decision_to_the_application(self, gray: Gray) -> None:
        assert gray.headers("checkout", "v2") == {"baggage": "gray.checkout=v2"}

    def test_they_carry_what_is_in_force_too(self, gray: Gray) -> None:
        assert gray.headers() == {}
        with gray.use("search", "v3"):
            assert gray.headers() == {"baggage": "gray.search=v3"}
            assert gray.headers("checkout", "v2") == {"baggage": "gray.search=v3,gray.checkout=v2"}

    def test_a_release_needs_a_version(self, gray: Gray) -> None:
        with pytest.raises(ValueError, match="both"):
            gray.headers("checkout")

    @pytest.mark.parametrize("trust", ["private", "signed"])
    def test_an_application_inherits_it(self, gray: Gray, trust: str) -> None:
        from starlette.applications import Starlette
        from starlette.responses import JSONResponse
        from starlette.routing import Route
        from starlette.testclient import TestClient

        async def seen(_: object) -> JSONResponse:
            decision = graymw.current().decisions["checkout"]
            return JSONResponse([decision.version, decision.reason])

        settings = {"service": "shop", "trust": trust, "secret": "0123456789abcdef"}
        app = graymw.install(Starlette(routes=[Route("/", seen)]), settings=settings)
        with TestClient(app) as client:
            assert client.get("/", headers=gray.headers("checkout", "v2")).json() == ["v2", "inherited"]


@pytest.mark.gray(checkout="v2")
class TestMarker:
    def test_it_forces_a_version_for_a_test(self, gray: Gray) -> None:
        assert gray.current().version("checkout") == "v2"

    @pytest.mark.gray({"my-release": "v3"}, checkout="v4")
    def test_the_nearest_one_counts_and_others_stay(self, gray: Gray) -> None:
        assert gray.current().version("checkout") == "v4"
        assert gray.current().version("my-release") == "v3"

    @pytest.fixture
    def seen_by_a_fixture(self) -> str | None:
        return graymw.current().version("checkout")

    def test_fixtures_see_it(self, seen_by_a_fixture: str | None) -> None:
        assert seen_by_a_fixture == "v2"


class TestMarkerInSuites:
    def test_coroutine_tests_see_it_whatever_runs_them(self, pytester: pytest.Pytester) -> None:
        pytester.makeconftest(
            """
            import asyncio, contextvars, inspect, pytest

            @pytest.hookimpl(tryfirst=True)
            def pytest_pyfunc_call(pyfuncitem):
                if inspect.iscoroutinefunction(pyfuncitem.obj):
                    # a runner whose context is older than the fixtures
                    contextvars.Context().run(asyncio.run, pyfuncitem.obj())
                    return True
            """
        )
        pytester.makepyfile(
            """
            import graymw, pytest

            @pytest.mark.gray(checkout="v2")
            async def test_forced():
                assert graymw.current().version("checkout") == "v2"

            async def test_not_forced():
                assert not graymw.current()
            """
        )
        pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)

    def test_anyio_s_runner_is_one_of_them(self, pytester: pytest.Pytester) -> None:
        pytester.makepyfile(
            """
            import graymw, pytest

            pytestmark = pytest.mark.anyio

            @pytest.fixture(scope="module")
            def anyio_backend():
                return "asyncio"

            async def test_first():
                assert not graymw.current()

            @pytest.mark.gray(checkout="v2")
            async def test_forced():
                assert graymw.current().version("checkout") == "v2"
            """
        )
        pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)

    def test_what_names_no_version_is_an_error_with_the_mend(self, pytester: pytest.Pytester) -> None:
        pytester.makepyfile(
            """
            import pytest

            @pytest.mark.gray(checkout=2)
            def test_number(): ...

            @pytest.mark.gray("v2")
            def test_word(): ...
            """
        )
        result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
        result.assert_outcomes(errors=2)
        result.stdout.fnmatch_lines(["*write @pytest.mark.gray(checkout='v2')*"])

    def test_it_is_known_where_markers_are_strict(self, pytester: pytest.Pytester) -> None:
        pytester.makepyfile("import pytest\n@pytest.mark.gray(checkout='v2')\ndef test(): ...")
        pytester.runpytest_inprocess("--strict-markers", "-p", "no:cacheprovider").assert_outcomes(passed=1)


class TestIsolation:
    def test_nothing_is_left_over(self, pytester: pytest.Pytester) -> None:
        pytester.makepyfile(
            """
            import graymw
            from graymw import bootstrap
            from graymw.runtime import counters, current
            from graymw.settings.schema import Settings

            kept = []

            def test_leaves_much_behind():
                bootstrap.engine_for(Settings(service="a"))
                kept.append(graymw.use("checkout", "v2"))
                kept[0].__enter__()
                counters.count("rules.error")
                assert graymw.current() and current.default_engine() and counters.snapshot()

            def test_finds_nothing():
                assert not graymw.current()
                assert current.REQUEST.get() is None
                assert current.default_engine() is None
                assert counters.snapshot() == {}
            """
        )
        pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)

    def test_an_application_of_a_whole_module_stays(self, pytester: pytest.Pytester) -> None:
        pytester.makepyfile(
            """
            import pytest
            from graymw import bootstrap
            from graymw.runtime import current
            from graymw.settings.schema import Settings

            @pytest.fixture(scope="module")
            def engine():
                return bootstrap.engine_for(Settings(service="a"))

            def test_first(engine):
                assert current.default_engine() is engine
                bootstrap.engine_for(Settings(service="b"))

            def test_second(engine):
                assert current.default_engine() is engine
            """
        )
        pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)

    def test_installing_alike_twice_behaves_alike(self, pytester: pytest.Pytester) -> None:
        pytester.makepyfile(
            """
            import pytest
            from graymw import bootstrap
            from graymw.runtime import current
            from graymw.settings.schema import Settings

            @pytest.mark.parametrize("time", [1, 2])
            def test_installs(time):
                engine = bootstrap.engine_for(Settings(service="a"))
                assert current.default_engine() is engine
            """
        )
        pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


class TestStrictContext:
    @pytest.fixture
    def installed(self) -> None:
        engine_for(Settings(service="tests"))

    def call(self, host: str = "orders") -> None:
        outbound.begin(method="GET", scheme="http", host=host, port=None, path="/stock")

    def in_a_thread(self, host: str = "orders") -> None:
        thread = threading.Thread(target=self.call, args=(host,), name="worker-7")
        thread.start()
        thread.join()

    def test_a_call_in_a_thread_without_context_is_noticed(
        self, installed: None, gray_strict_context: StrictContext
    ) -> None:
        self.in_a_thread()
        with pytest.raises(pytest.fail.Exception) as failed:
            gray_strict_context.check()
        told = str(failed.value)
        assert "1 call was made without the gray context of a request" in told
        assert f"GET orders/stock  in thread worker-7, {__file__}" in told
        assert "in call" in told
        assert "graymw.carry(function)" in told
        gray_strict_context.check()

    def test_how_the_context_was_lost_is_told(
        self, installed: None, gray: Gray, gray_strict_context: StrictContext
    ) -> None:
        with gray.use("checkout", "v2"):
            self.in_a_thread()
        with pytest.raises(pytest.fail.Exception) as failed:
            gray_strict_context.check()
        assert f"the thread started at {__file__}:" in str(failed.value)
        assert "make it a graymw.GrayThread" in str(failed.value)

    def test_a_carried_one_is_right(self, installed: None, gray: Gray, gray_strict_context: StrictContext) -> None:
        with gray.use("checkout", "v2"):
            thread = graymw.GrayThread(target=self.call)
            thread.start()
            thread.join()
        assert gray_strict_context.calls == []

    def test_the_test_s_own_calls_do_not_count(self, installed: None, gray_strict_context: StrictContext) -> None:
        self.call()
        assert gray_strict_context.calls == []

    def test_a_request_that_lost_its_context_on_the_way_is_noticed(
        self, installed: None, gray: Gray, gray_strict_context: StrictContext
    ) -> None:
        from opentelemetry import context as otel_context
        from opentelemetry.context.context import Context

        with gray.use("checkout", "v2"):
            token = otel_context.attach(Context())
            self.call()
            otel_context.detach(token)
        assert [call.host for call in gray_strict_context.calls] == ["orders"]
        gray_strict_context.calls.clear()

    def test_hosts_can_be_exempted(self, installed: None, gray_strict_context: StrictContext) -> None:
        gray_strict_context.allow("Metrics", "telemetry")
        self.in_a_thread("metrics")
        assert gray_strict_context.calls == []

    def test_without_the_fixture_nobody_listens(self) -> None:
        assert outbound.uncarried == []

    SUITE = """
        import concurrent.futures, httpx, pytest, threading
        import graymw
        from starlette.applications import Starlette
        from starlette.responses import PlainTextResponse
        from starlette.routing import Route
        from starlette.testclient import TestClient

        def ask():
            transport = httpx.MockTransport(lambda request: httpx.Response(200))
            with httpx.Client(transport=transport) as client:
                client.get("http://orders.internal/stock")

        def carried(_):
            graymw.GrayThreadPoolExecutor().submit(ask).result()
            return PlainTextResponse("fine")

        def lost(_):
            concurrent.futures.ThreadPoolExecutor().submit(ask).result()
            return PlainTextResponse("fine")

        @pytest.fixture
        def client():
            routes = [Route("/carried", carried), Route("/lost", lost)]
            app = graymw.install(Starlette(routes=routes), settings={"service": "shop"})
            with TestClient(app) as client:
                yield client
            graymw.uninstrument()

        def test_carried(client, gray_strict_context):
            assert client.get("/carried").text == "fine"

        def test_lost(client, gray_strict_context):
            assert client.get("/lost").text == "fine"

        def test_not_strict(client):
            assert client.get("/lost").text == "fine"
        """

    def test_a_suite_fails_exactly_where_a_context_was_lost(self, pytester: pytest.Pytester) -> None:
        pytester.makepyfile(self.SUITE)
        result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
        result.assert_outcomes(passed=2, failed=1)
        result.stdout.fnmatch_lines(["*GET orders.internal/stock  in thread ThreadPoolExecutor-*in ask*"])


class TestBeingLoadedEverywhere:
    def test_a_suite_that_does_not_use_it_loads_nothing_of_graymw(self, pytester: pytest.Pytester) -> None:
        pytester.makepyfile(
            """
            import sys

            def test_it():
                assert "graymw.testing" in sys.modules
                loaded = {name for name in sys.modules if name.startswith("graymw")}
                assert loaded == {"graymw", "graymw.testing"}
                assert not {"opentelemetry", "typer", "rich", "yaml", "starlette", "asyncio.runners"} & set(sys.modules)
            """
        )
        result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:anyio", "-p", "no:hypothesispytest")
        result.assert_outcomes(passed=1)

    def test_importing_it_imports_pytest_alone(self) -> None:
        code = (
            "import pytest, sys; before = set(sys.modules); import graymw.testing\n"
            "print(sorted(set(sys.modules) - before - {'contextvars', '_contextvars'}))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout == "['graymw', 'graymw.testing']\n"

    def test_unittest_and_doctest_go_on_as_ever(self, pytester: pytest.Pytester) -> None:
        pytester.makepyfile(
            '''
            """
            >>> 1 + 1
            2
            """
            import unittest

            class TestIt(unittest.TestCase):
                def test_it(self):
                    self.assertTrue(True)

            class TestLater(unittest.IsolatedAsyncioTestCase):
                async def test_it(self):
                    self.assertTrue(True)
            '''
        )
        result = pytester.runpytest_inprocess("--doctest-modules", "-p", "no:cacheprovider")
        result.assert_outcomes(passed=3)


def test_counters_begin_at_nothing() -> None:
    assert counters.snapshot() == {}
