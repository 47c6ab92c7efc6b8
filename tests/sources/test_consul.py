"""URLs and settings; what a server does is in ``tests/servers`` and ``tests/contract``."""

from __future__ import annotations

import base64
import json

import pytest

from graymw.errors import SettingsError, SourceError
from graymw.remote.http import Answer
from graymw.settings.access import Access
from graymw.settings.schema import Settings
from graymw.sources.choosing import source_for
from graymw.sources.consul import ConsulSource
from graymw.sources.consul_store import ConsulStore
from graymw.sources.storing import store_for


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("consul://127.0.0.1:8500", "it names no key; write it like consul://127.0.0.1:8500/graymw/rules.yaml"),
        ("consul://127.0.0.1:8500/", "it names no key"),
        ("consul://127.0.0.1:8500/folder/", "it names no key"),
        ("consul:///rules.yaml", "it names no host"),
        ("consul://127.0.0.1/rules?raw=1", "there is no parameter raw"),
    ],
)
def test_a_wrong_url_is_refused_with_the_mend(url: str, told: str) -> None:
    for make in (ConsulSource, ConsulStore):
        with pytest.raises(SettingsError) as caught:
            make(url, Access())
        assert f"GRAYMW_RULES: {told}" in str(caught.value)


def test_settings_lead_to_it() -> None:
    settings = Settings.from_mapping({"rules": "consul+https://:s3cret@consul.example/a/b.json"}, environ={})
    source, store = source_for(settings), store_for(settings)
    assert isinstance(source, ConsulSource)
    assert isinstance(store, ConsulStore)
    assert source.name == store.name == "consul+https://***@consul.example/a/b.json"


def held(value: str | None) -> Answer:
    return Answer(200, {}, json.dumps([{"Key": "k", "Value": value, "ModifyIndex": 7}]).encode())


def test_a_value_is_read_with_its_index() -> None:
    source = ConsulSource("consul://127.0.0.1/k.toml", Access())
    fetched = source.fetched(held(base64.b64encode("a = 'é'".encode()).decode()))
    assert (fetched.text, fetched.format, fetched.version) == ("a = 'é'".encode(), "toml", "7")
    assert source.fetched(held(None)).text == b""
    missing = source.fetched(Answer(404, {}, b""))
    assert (missing.text, missing.version) == (None, "")


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"{}", b"[1]", b'[{"Value": "!"}]', b'[{"Value": 7}]', b"null"])
def test_what_consul_never_says_is_told(content: bytes) -> None:
    with pytest.raises(SourceError, match=r"is no JSON|check that it is Consul that listens there"):
        ConsulSource("consul://127.0.0.1/k", Access()).fetched(Answer(200, {}, content))
