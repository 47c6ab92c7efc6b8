from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.cli.recorded import _request
from graymw.core.reads import Reads
from graymw.middleware.asgi import AsgiFacts
from graymw.settings.schema import Settings
from graymw.telemetry.recording import recorded_request

EVERYTHING = Reads(all_headers=True, all_cookies=True, all_query=True)
WORDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x17F, exclude_characters=";,"), max_size=8)
COOKIES = st.lists(st.tuples(WORDS, WORDS | st.just('"quoted"') | st.just('" blank "')), max_size=4)
FIELDS = {
    "x-user-id": WORDS,
    "x-region": WORDS,
    "x-device": WORDS,
    "x-plan": WORDS,
    "host": st.sampled_from(["shop", "Shop:8080", "[::1]:80", "[::1]", ""]),
    "cookie": COOKIES.map(lambda pairs: "; ".join(f"{name}={value}" for name, value in pairs)),
    "x-forwarded-for": st.sampled_from(["10.0.0.7", "192.0.2.1, 10.0.0.7"]),
}


def facts_of(fields: dict[str, str], path: str = "/", query: bytes = b"", method: str = "GET") -> AsgiFacts:
    scope: dict[str, Any] = {"method": method, "path": path, "query_string": query, "client": ("127.0.0.1", 1)}
    return AsgiFacts(scope, fields, Settings())


@given(
    fields=st.fixed_dictionaries({}, optional=FIELDS),
    path=st.text(st.characters(exclude_categories=["Cs"]), max_size=12).map("/".__add__),
    query=st.sampled_from([b"", b"uid=7", b"a=%3D&b=x+y&c=%ff", b"a=1&a=2&=3&d", b"a=1;b=2#?"]),
    method=st.sampled_from(["GET", "POST", "PATCH"]),
)
def test_a_recorded_request_has_the_facts_of_the_live_one(
    fields: dict[str, str], path: str, query: bytes, method: str
) -> None:
    live = facts_of(fields, path, query, method)
    line = json.dumps(recorded_request(live, EVERYTHING)).encode()
    again = _request("", 1, line, Settings())
    assert (again.method, again.path, again.host) == (live.method, live.path, live.host)
    assert (again.user, again.region, again.device, again.ip) == (live.user, live.region, live.device, live.ip)
    assert again.cookies == {name: value for name, value in live.cookies.items() if name}
    assert again.query == {name: value for name, value in live.query.items() if name}
    told = {name: value for name, value in again.headers.items() if name not in ("cookie", "host")}
    assert told == {name: value for name, value in fields.items() if name not in ("cookie", "host")}


def test_only_what_rules_name_is_told() -> None:
    live = facts_of({"x-plan": "gold", "x-key": "k", "cookie": "tier=1; session=s"}, query=b"q=1&token=t")
    reads = Reads(headers=frozenset({"x-plan"}), cookies=frozenset({"tier"}), query=frozenset({"q"}))
    assert recorded_request(live, reads) == {
        "method": "GET",
        "path": "/",
        "ip": "127.0.0.1",
        "headers": {"x-plan": "gold"},
        "cookies": {"tier": "1"},
        "query": {"q": "1"},
    }


@pytest.mark.parametrize("name", ["authorization", "proxy-authorization", "cookie", "baggage", "traceparent"])
def test_credentials_are_never_told(name: str) -> None:
    live = facts_of({name: "secret"})
    for reads in (EVERYTHING, Reads(headers=frozenset({name}))):
        assert "headers" not in recorded_request(live, reads)


def test_a_header_name_that_could_not_be_read_again_is_left_out() -> None:
    assert "headers" not in recorded_request(facts_of({"a b": "c", "": "d"}), EVERYTHING)
