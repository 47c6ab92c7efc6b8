from __future__ import annotations

import asyncio
import base64
import hmac
from collections.abc import Mapping

import pytest

from graymw.errors import SourceError
from graymw.remote.http import Answer, HttpClient, UnreachableError
from graymw.remote.nacos.credentials import Credentials, Memory
from graymw.remote.nacos.place import nacos_place
from graymw.settings.access import Access


class Server(HttpClient):
    """Answers log-ins from a list."""

    def __init__(self, *answers: Answer | SourceError) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, object]] = []

    async def request(self, method: str, path: str, **body: object) -> Answer:  # type: ignore[override]
        self.asked.append((path, body.get("data")))
        answer = self.answers.pop(0)
        if isinstance(answer, SourceError):
            raise answer
        return answer


def granted(token: str, seconds: int = 100) -> Answer:
    return Answer(200, {}, f'{{"accessToken": "{token}", "tokenTtl": {seconds}}}'.encode())


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def credentials(server: Server, access: Access, clock: Clock | None = None, url: str = "nacos://h") -> Credentials:
    place = nacos_place(url, setting="GRAYMW_RULES", example="nacos://h")
    return Credentials(place, access, server, Memory(), clock=clock or Clock())


ANN = Access(user="ann", password="s3cret")


def test_without_a_login_nobody_is_asked() -> None:
    server = Server()

    async def run() -> None:
        assert await credentials(server, Access()).http_headers({}) == {}
        assert await credentials(server, Access(token="t")).http_headers({}) == {"authorization": "Bearer t"}

    asyncio.run(run())
    assert server.asked == []


def test_a_token_is_fetched_once_and_again_before_it_runs_out() -> None:
    server, clock = Server(granted("one"), granted("two")), Clock()

    async def run() -> None:
        ann = credentials(server, ANN, clock)
        assert await asyncio.gather(*(ann.token() for _ in range(5))) == ["one"] * 5
        assert await ann.grpc_headers({"ak": "k"}) == {"ak": "k", "accessToken": "one"}
        clock.now = 90.0
        assert await ann.token() == "two"

    asyncio.run(run())
    assert server.asked == [("/nacos/v3/auth/user/login", {"username": "ann", "password": "s3cret"})] * 2


def test_nacos_2_is_asked_where_nacos_3_knows_nothing() -> None:
    server = Server(Answer(404, {}, b"{}"), granted("t"))
    assert asyncio.run(credentials(server, ANN).token()) == "t"
    assert [path for path, _ in server.asked] == ["/nacos/v3/auth/user/login", "/nacos/v1/auth/login"]


def test_a_token_that_was_refused_is_fetched_anew_once_for_all_who_held_it() -> None:
    server = Server(granted("one"), granted("two"))

    async def run() -> None:
        ann = credentials(server, ANN)
        held = await ann.token()
        assert ann.forget(held)
        assert await ann.token() == "two"
        assert ann.forget(held)
        assert await ann.token() == "two"

    asyncio.run(run())


@pytest.mark.parametrize(
    "answer",
    [
        Answer(403, {}, b"unknown user!"),
        Answer(500, {}, b""),
        Answer(200, {}, b"{}"),
        Answer(200, {}, b"[]"),
        SourceError("broke off the answer (illegal status line)"),
    ],
)
def test_a_refused_login_names_the_settings_and_no_secret(answer: Answer | SourceError) -> None:
    with pytest.raises(SourceError, match=r"log-in of ann .*GRAYMW_RULES_USER and GRAYMW_RULES_PASSWORD") as error:
        asyncio.run(credentials(Server(answer), ANN).token())
    assert "s3cret" not in str(error.value)


def test_a_server_that_cannot_be_reached_refuses_nobody() -> None:
    with pytest.raises(UnreachableError):
        asyncio.run(credentials(Server(UnreachableError("down")), ANN).token())


def test_the_url_may_log_in_where_the_settings_do_not() -> None:
    server = Server(granted("t"))
    asyncio.run(credentials(server, Access(), url="nacos://bob:p%40ss@h").token())
    assert server.asked[0][1] == {"username": "bob", "password": "p@ss"}


def test_forgetting_changes_nothing_without_a_login() -> None:
    assert not credentials(Server(), Access()).forget("t")
    assert not credentials(Server(), Access(token="t")).forget("t")


def signed(data: str) -> str:
    return base64.b64encode(hmac.new(b"sk", data.encode(), "sha1").digest()).decode()


KEY = Access(access_key="ak", secret_key="sk")


def test_an_access_key_signs_the_service() -> None:
    told = credentials(Server(), KEY).naming_signature("g", "orders")
    timestamp, _, rest = told["data"].partition("@@")
    assert (told["ak"], rest, len(timestamp)) == ("ak", "g@@orders", 13)
    assert told["signature"] == signed(told["data"])


@pytest.mark.parametrize(("namespace", "resource"), [("public", "g"), ("dev", "dev+g")])
def test_an_access_key_signs_namespace_and_group_of_a_configuration(namespace: str, resource: str) -> None:
    told: Mapping[str, str] = credentials(Server(), KEY).config_signature(namespace, "g")
    assert told["Spas-AccessKey"] == "ak"
    assert told["Spas-Signature"] == signed(f"{resource}+{told['Timestamp']}")


def test_without_an_access_key_nothing_is_signed() -> None:
    nobody = credentials(Server(), Access())
    assert nobody.naming_signature("g", "s") == nobody.config_signature("n", "g") == {}


@pytest.mark.parametrize(
    ("access", "setting"),
    [(KEY, "GRAYMW_RULES_SECRET_KEY"), (Access(token="t"), "GRAYMW_RULES_TOKEN"), (ANN, "GRAYMW_RULES_USER")],
)
def test_a_refusal_names_what_to_set(access: Access, setting: str) -> None:
    assert setting in credentials(Server(), access).refusal_mend
