from __future__ import annotations

import socket

import pytest

from graymw.runtime import own_address as module
from graymw.runtime.own_address import Address, host_towards, listening, own_address, told_address


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("", ("", None, False)),
        (":8000", ("", 8000, False)),
        ("10.0.0.7:8000", ("10.0.0.7", 8000, False)),
        ("https://orders.internal:8443", ("orders.internal", 8443, True)),
        ("grpcs://[fd00::7]:50051", ("fd00::7", 50051, True)),
        ("10.0.0.7", ("10.0.0.7", None, False)),
    ],
)
def test_what_a_setting_says(written: str, read: tuple[str, int | None, bool]) -> None:
    assert told_address(written) == read


def test_sockets_that_this_process_listens_at_are_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as own, socket.create_server(("::1", 0), family=socket.AF_INET6) as six:
        found = listening()
        assert ("127.0.0.1", own.getsockname()[1]) in found
        assert ("::1", six.getsockname()[1]) in found
        port = own.getsockname()[1]
    assert ("127.0.0.1", port) not in listening()


def test_a_socket_that_only_connects_does_not_count() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getsockname() not in listening()


def at(monkeypatch: pytest.MonkeyPatch, *places: tuple[str, int]) -> None:
    monkeypatch.setattr(module, "listening", lambda: places)


def test_one_listening_socket_is_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, ("10.1.2.3", 8000))
    assert own_address("", "") == Address("10.1.2.3", 8000)


def test_a_socket_open_to_everyone_is_reached_by_the_way_to_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, ("0.0.0.0", 8000), ("::", 8000))
    assert own_address("", "127.0.0.1") == Address("127.0.0.1", 8000)


def test_what_is_told_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, ("127.0.0.1", 8000), ("127.0.0.1", 9464))
    assert own_address("https://orders.internal:443", "") == Address("orders.internal", 443, tls=True)
    assert own_address(":9464", "") == Address("127.0.0.1", 9464)


def test_a_host_alone_takes_the_port_that_is_listened_at(monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, ("127.0.0.1", 8000))
    assert own_address("10.0.0.7", "") == Address("10.0.0.7", 8000)


def test_several_ports_ask_for_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, ("127.0.0.1", 9464), ("127.0.0.1", 8000))
    told = own_address("", "")
    assert told == (
        "this process listens at the ports 8000, 9464; "
        "set GRAYMW_ADDRESS to :PORT or HOST:PORT of what is to be registered"
    )


def test_before_anything_is_served_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch)
    assert "listens nowhere yet" in str(own_address("", ""))


def test_the_way_to_a_host_tells_the_own_address() -> None:
    assert host_towards("127.0.0.1") == "127.0.0.1"
    assert host_towards("no such host.invalid") == ""
