"""What a ``dns://`` URL asks for."""

from __future__ import annotations

import pytest

from graymw.errors import SettingsError
from graymw.registries.dns_question import Question, question_of


def asked(url: str, service: str = "orders") -> list[tuple[str, str]]:
    return list(question_of(url).names(service))


def test_srv_records_of_the_service_under_the_domain() -> None:
    assert asked("dns://127.0.0.1/mesh.internal") == [("", "_orders._tcp.mesh.internal")]


def test_addresses_of_the_service_under_the_domain() -> None:
    assert asked("dns:///mesh.internal.?record=a&port=8000") == [("", "orders.mesh.internal")]


def test_a_name_for_each_version() -> None:
    assert asked("dns:///service.consul?name={version}.{service}&versions=v1,+v2") == [
        ("v1", "v1.orders.service.consul"),
        ("v2", "v2.orders.service.consul"),
    ]
    url = "dns:///shop.svc.cluster.local?name=_http._tcp.{service}-{version}&versions=v2"
    assert asked(url) == [("v2", "_http._tcp.orders-v2.shop.svc.cluster.local")]


def test_no_domain_where_the_names_are_whole() -> None:
    assert asked("dns://?record=a&port=80") == [("", "orders")]


def test_a_service_never_fills_in_another_place() -> None:
    assert asked("dns:///d", "{version}") == [("", "_{version}._tcp.d")]


def test_servers() -> None:
    assert question_of("dns:///d").servers == ()
    assert question_of("dns://ns1,[::1]:54/d").servers == (("ns1", 53), ("::1", 54))


@pytest.mark.parametrize(
    ("parameters", "port", "tls"),
    [
        ("record=srv", None, False),
        ("record=SRV&scheme=https", None, True),
        ("record=a&port=8000", 8000, False),
        ("record=a&scheme=http", 80, False),
        ("record=a&scheme=https", 443, True),
        ("record=a&scheme=grpcs&port=50051", 50051, True),
    ],
)
def test_port_and_tls(parameters: str, port: int | None, tls: bool) -> None:
    question = question_of(f"dns:///d?{parameters}")
    assert (question.port, question.tls) == (port, tls)


def test_tcp_where_it_is_asked_for() -> None:
    assert [question_of(f"dns:///d{it}").tcp for it in ("", "?transport=udp", "?transport=tcp")] == [False, False, True]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("dns:///d?record=txt", "there is no record txt; write record=srv or record=a"),
        ("dns:///d?record=a", "addresses do not tell the port; add port=8000"),
        ("dns:///d?record=a&scheme=grpc", "addresses do not tell the port; add port=8000"),
        ("dns:///d?record=a&port=0", "'0' is no port"),
        ("dns:///d?record=a&port=²", "'²' is no port"),
        ("dns:///d?port=80", "SRV records tell the port; leave port out, or write record=a"),
        ("dns:///d?scheme=ftp", "there is no scheme ftp; write one of: http, https, grpc, grpcs"),
        ("dns:///d?transport=dot", "there is no transport dot"),
        ("dns:///d?versions=v1,v2", "no place for one; add a name such as name={version}.{service}"),
        ("dns:///d?name={service}-{version}", "none is named; add versions=v1,v2"),
        ("dns:///d?name={service}-{version}&versions=-", "'-' is no version"),
        ("dns:///d?name=orders", "no place for the service; write a name such as name={service}-{version}"),
        ("dns:///d?name={service}{x}", "the name has characters that DNS names do not have"),
        ("dns:///a/b", "the domain has characters that DNS names do not have"),
        ("dns:///d?recrod=a", "there is no parameter recrod; did you mean record?"),
        ("dns+https://h/d", "neither TLS nor a log-in"),
        ("dns://user:s3cret@h/d", "neither TLS nor a log-in"),
    ],
)
def test_what_cannot_be_is_refused_with_the_mend(url: str, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        question_of(url)
    (problem,) = refused.value.problems
    assert problem.path == "GRAYMW_REGISTRY"
    assert told in f"{problem.message}; {problem.mend}"
    assert "s3cret" not in str(refused.value)


def test_it_is_shown_as_it_was_written() -> None:
    question: Question = question_of("dns://h/d?record=a&port=1")
    assert question.shown == "dns://h/d?record=a&port=1"
