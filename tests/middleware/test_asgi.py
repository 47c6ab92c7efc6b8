"""GrayASGIMiddleware, through ``graymw.install`` around bare ASGI callables."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import graymw
from graymw.runtime import counters, outbound

Headers = list[tuple[bytes, bytes]]


class Recorder:
    """An ASGI application that notes what it saw."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []
        self.contexts: list[graymw.GrayContext] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        self.contexts.append(graymw.current())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    @property
    def baggage(self) -> list[bytes]:
        return [value for name, value in self.scopes[-1]["headers"] if name == b"baggage"]


def scope_of(headers: Headers, *, client: Any = ("127.0.0.1", 4711), **more: Any) -> dict[str, Any]:
    return {
        "type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", "headers": headers,
        "scheme": "http", "server": ("127.0.0.1", 80), "client": client, "http_version": "1.1", **more,
    }  # fmt: skip


def ask(app: Any, headers: Headers, **more: Any) -> list[dict[str, Any]]:
    """One request; the messages that came back."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    asyncio.run(app(scope_of(headers, **more), receive, send))
    return sent


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def app(recorder: Recorder, settings: dict[str, object]) -> Any:
    return graymw.install(recorder, settings=settings)


class TestDeciding:
    def test_the_first_hop_decides_by_the_rules(self, app: Any, recorder: Recorder) -> None:
        ask(app, [(b"x-gray-version", b"true")])
        decision = recorder.contexts[0].decisions["checkout"]
        assert (decision.version, decision.reason, decision.rule) == ("v2", "match", "testers")

    def test_a_stable_decision_travels_too(self, app: Any, recorder: Recorder) -> None:
        ask(app, [(b"x-user-id", b"7")])
        assert recorder.contexts[0].decisions["checkout"].reason == "default"
        assert recorder.baggage[0].startswith(b"gray.checkout=v1,gray-rev=")

    def test_a_later_hop_inherits_whatever_its_own_rules_say(self, app: Any, recorder: Recorder) -> None:
        ask(app, [(b"x-gray-version", b"true"), (b"baggage", b"gray.checkout=v1,gray-rev=abcdef01")])
        decision = recorder.contexts[0].decisions["checkout"]
        assert (decision.version, decision.reason, decision.revision) == ("v1", "inherited", "abcdef01")

    def test_a_release_this_process_does_not_know_is_carried_on(self, app: Any, recorder: Recorder) -> None:
        ask(app, [(b"baggage", b"gray.search=v9,gray-rev=abcdef01")])
        assert recorder.contexts[0].version("search") == "v9"
        assert recorder.contexts[0].version("checkout") == "v1"

    def test_user_id_from_cookie_and_query_count_where_the_header_is_missing(
        self, app: Any, recorder: Recorder
    ) -> None:
        ask(app, [(b"cookie", b"uid=40")])
        ask(app, [], query_string=b"uid=50")
        assert [context.version() for context in recorder.contexts] == ["v2", "v2"]

    @pytest.mark.parametrize("user", ["münchen", "用户7", b"\xff\xfe\x00raw"])
    def test_a_bucket_is_that_of_the_bytes_on_the_wire_as_a_proxy_computes_it(self, user: str | bytes) -> None:
        from xxhash import xxh64_intdigest

        recorder = Recorder()
        app = graymw.install(recorder, settings={"gray_ratio": "50%", "service": "orders"})
        wire = user if isinstance(user, bytes) else user.encode()
        ask(app, [(b"x-user-id", wire)])
        ask(app, [(b"cookie", b"uid=" + wire)])
        gray = xxh64_intdigest(b"default:" + wire) % 10_000 < 5_000
        assert [context.is_gray() for context in recorder.contexts] == [gray, gray]


class TestCarrying:
    def test_ours_come_first_and_the_applications_members_stay_verbatim(self, app: Any, recorder: Recorder) -> None:
        theirs = b"userId=a%20b;prop=1 , k=v+w"
        ask(app, [(b"x-gray-version", b"true"), (b"baggage", theirs)])
        ours, _, rest = recorder.baggage[0].partition(b",userId")
        assert ours.startswith(b"gray.checkout=v2,gray-rev=")
        assert b"userId" + rest == theirs

    def test_several_baggage_headers_become_one(self, app: Any, recorder: Recorder) -> None:
        ask(app, [(b"baggage", b"a=1"), (b"baggage", b"b=2")])
        assert len(recorder.baggage) == 1
        assert recorder.baggage[0].endswith(b",a=1,b=2")

    def test_the_same_members_are_opentelemetry_baggage(self, settings: dict[str, object]) -> None:
        from opentelemetry import baggage

        seen: list[dict[str, object]] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            seen.append(dict(baggage.get_all()))

        ask(graymw.install(app, settings=settings), [(b"baggage", b"k=a%20b")])
        assert next(iter(seen[0])) == "gray.checkout"
        assert seen[0]["k"] == "a b"

    def test_nothing_is_left_when_the_request_is_over(self, app: Any) -> None:
        async def two() -> None:
            await app(scope_of([(b"x-gray-version", b"true")]), None, _ignore)
            assert not graymw.current()

        asyncio.run(two())


class TestTrust:
    @pytest.mark.parametrize(
        ("client", "headers"),
        [
            (("203.0.113.9", 1), []),
            (("127.0.0.1", 1), [(b"x-forwarded-for", b"203.0.113.9")]),
            (("127.0.0.1", 1), [(b"x-forwarded-for", b"203.0.113.9, 10.0.0.1")]),
            (("10.0.0.1", 1), [(b"forwarded", b"for=203.0.113.9")]),
            (("10.0.0.1", 1), [(b"forwarded", b"for=unknown")]),
            (("10.0.0.1", 1), [(b"x-forwarded-for", b"")]),
        ],
    )
    def test_what_comes_from_outside_does_not_count_and_is_not_seen(
        self, app: Any, recorder: Recorder, client: Any, headers: Headers
    ) -> None:
        ask(app, [(b"baggage", b"gray.checkout=evil,gray.other=evil,k=v"), *headers], client=client)
        if headers == [(b"x-forwarded-for", b"")]:
            assert recorder.contexts[0].version("checkout") == "evil"
            return
        assert recorder.contexts[0].version("checkout") == "v1"
        assert b"evil" not in recorder.baggage[0]
        assert recorder.baggage[0].endswith(b",k=v")
        assert counters.snapshot()["baggage.untrusted.outside"] == 1

    @pytest.mark.parametrize("client", [("127.0.0.1", 1), ("10.1.2.3", 1), ("::1", 1), ("fd00::1", 1), None])
    def test_what_comes_from_inside_counts(self, app: Any, recorder: Recorder, client: Any) -> None:
        ask(app, [(b"baggage", b"gray.checkout=v2,gray-rev=00000001")], client=client)
        assert recorder.contexts[0].version("checkout") == "v2"

    def test_an_edge_trusts_nobody(self, recorder: Recorder, settings: dict[str, object]) -> None:
        ask(graymw.install(recorder, settings={**settings, "trust": "none"}), [(b"baggage", b"gray.checkout=v2")])
        assert recorder.contexts[0].version("checkout") == "v1"

    def test_signed_trust_takes_only_what_the_key_signed(self, recorder: Recorder, settings: dict[str, object]) -> None:
        import time

        from graymw.core.carrying.signing import sign

        key = "a-long-random-string-of-the-fleet"
        app = graymw.install(recorder, settings={**settings, "trust": "signed", "secret": key})
        members = "gray.checkout=v2,gray-rev=00000001"
        good = f"{members},gray-sig={sign(members, int(time.time()) + 60, key.encode())}"
        outside = ("203.0.113.9", 1)
        ask(app, [(b"baggage", good.encode())], client=outside)
        ask(app, [(b"baggage", good.replace("=v2", "=v3").encode())], client=outside)
        ask(app, [(b"baggage", members.encode())])
        assert [context.version("checkout") for context in recorder.contexts] == ["v2", "v1", "v1"]
        assert b"gray-sig" not in recorder.baggage[0], "the application sees no signature"


class TestStickyCookie:
    @pytest.fixture
    def settings(self, tmp_path: Any) -> dict[str, object]:
        return {"service": "orders", "gray_ratio": "50%", "gray_version": "v2"}

    def test_a_visitor_without_a_key_gets_a_cookie_and_keeps_the_version(self, app: Any, recorder: Recorder) -> None:
        sent = ask(app, [], scheme="https")
        cookie = dict(sent[0]["headers"])[b"set-cookie"]
        assert b"HttpOnly" in cookie
        assert b"SameSite=Lax" in cookie
        assert b"Secure" in cookie
        for _ in range(5):
            again = ask(app, [(b"cookie", cookie.partition(b";")[0])])
            assert again[0]["headers"] == []
        assert len({context.version() for context in recorder.contexts}) == 1

    def test_a_visitor_with_a_user_id_gets_none(self, app: Any) -> None:
        assert ask(app, [(b"x-user-id", b"41")])[0]["headers"] == []

    def test_on_plain_http_the_cookie_is_not_secure(self, app: Any) -> None:
        assert b"Secure" not in dict(ask(app, [])[0]["headers"])[b"set-cookie"]


class TestStandingAside:
    def test_lifespan_passes_untouched(self, app: Any, recorder: Recorder) -> None:
        scope = {"type": "lifespan", "state": {}}
        asyncio.run(app(scope, None, _ignore))
        assert recorder.scopes == [{"type": "lifespan", "state": {}}]

    def test_installed_twice_decides_once(self, recorder: Recorder, settings: dict[str, object]) -> None:
        app = graymw.install(recorder, settings=settings)
        assert graymw.install(app, settings=settings) is app
        ask(graymw.GrayMiddleware(app, settings=settings), [(b"x-gray-version", b"true")])
        assert recorder.baggage[0].count(b"gray.checkout") == 1

    @pytest.mark.parametrize("kind", [iter, tuple])
    @pytest.mark.parametrize("baggage", [b"k=v", b"gray.checkout=v1,gray-rev=abcdef01"])
    def test_headers_may_be_any_iterable(self, app: Any, recorder: Recorder, kind: Any, baggage: bytes) -> None:
        ask(app, kind([(b"host", b"orders"), (b"baggage", baggage)]))
        assert (b"host", b"orders") in recorder.scopes[0]["headers"]
        assert recorder.baggage[0].startswith(b"gray.checkout=v1,gray-rev=")

    def test_refused_settings_leave_the_application_as_it_was(self, recorder: Recorder, caplog: Any) -> None:
        app = graymw.install(recorder, settings={"trust": "everybody"})
        assert app is recorder
        assert "GRAYMW_TRUST" in caplog.text

    def test_a_fault_of_ours_is_no_fault_of_the_application(
        self, app: Any, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: Any
    ) -> None:
        def broken(*_: object) -> None:
            raise RuntimeError("bug")

        monkeypatch.setattr("graymw.middleware.asgi.admit", broken)
        assert [ask(app, [])[0]["status"] for _ in range(2)] == [200, 200]
        assert counters.snapshot()["middleware.error"] == 2
        assert caplog.text.count("bug") == 1, "logged once"

    def test_what_is_no_application_is_refused_with_the_mend(self) -> None:
        with pytest.raises(graymw.GrayError, match="takes an ASGI or WSGI application, not int"):
            graymw.install(3)

    def test_switched_off_means_untouched(self, recorder: Recorder, settings: dict[str, object]) -> None:
        assert graymw.install(recorder, settings={**settings, "enabled": "false"}) is recorder


class TestAnotherVersionsRequests:
    MEANT_FOR_V2: ClassVar[Headers] = [(b"baggage", b"gray.checkout=v2,gray-rev=00000001")]

    def test_they_are_answered_and_counted(self, app: Any) -> None:
        assert ask(app, self.MEANT_FOR_V2)[0]["status"] == 200
        assert counters.snapshot()["misrouted"] == 1

    def test_strictly_they_are_refused_with_421(self, recorder: Recorder, settings: dict[str, object]) -> None:
        app = graymw.install(recorder, settings={**settings, "strict": "true"})
        sent = ask(app, self.MEANT_FOR_V2)
        assert sent[0]["status"] == 421
        assert b'"served": "v1", "decided": "v2"' in sent[1]["body"]
        assert recorder.scopes == []

    def test_what_this_process_decides_itself_is_served(self, recorder: Recorder, settings: dict[str, object]) -> None:
        app = graymw.install(recorder, settings={**settings, "strict": "true"})
        assert ask(app, [(b"x-gray-version", b"true")])[0]["status"] == 200
        assert "misrouted" not in counters.snapshot()


class TestRefusing:
    def test_a_call_nobody_may_take_answers_503(self, tmp_path: Any) -> None:
        rules = tmp_path / "rules.yaml"
        rules.write_text("schema: 1\nreleases: {checkout: {stable: v1, fallback: refuse, rules: [{use: v2}]}}\n")

        async def app(scope: Any, receive: Any, send: Any) -> None:
            raise graymw.GrayUnavailableError("payments", "v2", "checkout")

        sent = ask(graymw.install(app, settings={"rules": str(rules), "service": "orders"}), [])
        assert sent[0]["status"] == 503
        assert b'"service": "payments"' in sent[1]["body"]

    def test_a_service_without_a_stable_instance_answers_503_whatever_the_rules_say_of_fallbacks(
        self, settings: dict[str, object]
    ) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            outbound.begin(method="GET", scheme="http", host="payments", port=None)

        table = {"payments": [{"url": "http://127.0.0.1:9", "version": "v3"}]}
        sent = ask(graymw.install(app, settings={**settings, "services": table}), [])
        assert sent[0]["status"] == 503


@given(
    baggage=st.binary(max_size=200) | st.binary(max_size=60).map(lambda raw: b"gray.checkout=" + raw),
    cookie=st.binary(max_size=100),
    query=st.binary(max_size=100),
    user=st.binary(max_size=40),
    client=st.sampled_from([("127.0.0.1", 1), ("8.8.8.8", 2), ("nonsense", 3), None]),
)
@hypothesis_settings(max_examples=300, deadline=None)
def test_no_bytes_in_a_request_ever_raise(
    baggage: bytes, cookie: bytes, query: bytes, user: bytes, client: Any
) -> None:
    app, recorder = _HOSTILE
    sent = ask(
        app,
        [
            (b"baggage", baggage),
            (b"cookie", cookie),
            (b"x-user-id", user),
            (b"traceparent", user),
            (b"tracestate", cookie),
        ],
        query_string=query,
        client=client,
    )
    assert sent[0]["status"] == 200
    assert "middleware.error" not in counters.snapshot()
    assert all(
        b"gray" not in member.partition(b"=")[0] or _is_clean(member) for member in recorder.baggage[0].split(b",")
    )


def _is_clean(member: bytes) -> bool:
    key, _, value = member.strip().partition(b"=")
    return not key.startswith(b"gray.") or value.replace(b".", b"").replace(b"-", b"").replace(b"_", b"").isalnum()


async def _ignore(message: Any) -> None:
    pass


@pytest.fixture(autouse=True)
def _hostile(settings: dict[str, object]) -> Any:
    recorder = Recorder()
    _HOSTILE[:] = [graymw.install(recorder, settings=settings), recorder]


_HOSTILE: list[Any] = []
