from __future__ import annotations

import pytest

from graymw.errors import SettingsError
from graymw.remote.url import BackendUrl, parse_backend_url

EXAMPLE = "etcd://127.0.0.1:2379/rules"


def parsed(url: str, *, host_needed: bool = True) -> BackendUrl:
    return parse_backend_url(
        url,
        setting="GRAYMW_RULES",
        default_port=2379,
        parameters=("group", "namespace"),
        example=EXAMPLE,
        host_needed=host_needed,
    )


def test_a_url_is_taken_apart() -> None:
    url = parsed("ETCD+https://one:1,two,[fd00::3]:3/a%20b/c?group=G&namespace=")
    assert (url.scheme, url.secure, url.path, dict(url.query)) == (
        "etcd",
        True,
        "a b/c",
        {"group": "G", "namespace": ""},
    )
    assert url.hosts == (("one", 1), ("two", 2379), ("fd00::3", 3))
    assert url.base_urls == ("https://one:1", "https://two:2379", "https://[fd00::3]:3")


def test_credentials_are_read_and_never_shown() -> None:
    url = parsed("etcd://me:s%40cret@one/rules")
    assert (url.user, url.password) == ("me", "s@cret")
    assert "cret" not in url.shown + repr(url)
    assert url.shown == "etcd://***@one/rules"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("etcd://", "it names no host"),
        ("etcd:///rules", "it names no host"),
        ("etcd://one:0/rules", "'one:0' is no host and port"),
        ("etcd://one:99999/rules", "'one:99999' is no host and port"),
        ("etcd://one:port/rules", "'one:port' is no host and port"),
        ("etcd://one,/rules", "'' is no host and port"),
        ("etcd://one/rules?grup=G", "there is no parameter grup; did you mean group?"),
        ("etcd://one/rules?zzz=G", "there is no parameter zzz; known are group, namespace"),
        ("etcd://one/rules#part", "a part behind # means nothing here"),
        ("/etc/rules", "it is no URL"),
        ("etcd://[::1/rules", "it is no URL"),
    ],
)
def test_what_is_wrong_is_told_with_the_mend(url: str, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parsed(url)
    (problem,) = caught.value.problems
    assert problem.path == "GRAYMW_RULES"
    assert told in str(problem)


def test_a_url_may_do_without_a_host_where_that_is_allowed() -> None:
    assert parsed("kubernetes://", host_needed=False).hosts == ()
