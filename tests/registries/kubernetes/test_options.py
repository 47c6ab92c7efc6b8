from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from graymw.errors import SettingsError
from graymw.registries.kubernetes.options import VERSION_LABELS, Options, read_url
from graymw.remote.kubernetes.server import ApiServer
from graymw.settings.access import Access

IN_POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """What a kubelet mounts."""
    for name, text in {"namespace": "shop", "token": "pods-token\n", "ca.crt": "certificate"}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def read(
    url: str, account: Path = Path("/nowhere"), environ: Mapping[str, str] = IN_POD, access: Access | None = None
) -> tuple[ApiServer, Options]:
    return read_url(url, access or Access(), environ=environ, account=account)


def test_in_a_pod_nothing_needs_to_be_said(account: Path) -> None:
    server, options = read("kubernetes://", account)
    assert server.url == "https://10.96.0.1:443"
    assert server.access.ca == str(account / "ca.crt")
    assert server.headers() == {"authorization": "Bearer pods-token"}
    assert (options.namespaces, options.home, options.versions) == (("shop",), "shop", "pods")
    assert options.version_labels == VERSION_LABELS


def test_a_token_is_read_anew_each_time_as_the_kubelet_replaces_it(account: Path) -> None:
    server, _ = read("kubernetes:///shop", account)
    (account / "token").write_text("the-next-one")
    assert server.headers() == {"authorization": "Bearer the-next-one"}


def test_a_pod_without_a_token_is_told_what_to_do(account: Path) -> None:
    (account / "token").unlink()
    server, _ = read("kubernetes:///shop", account)
    with pytest.raises(Exception, match="automountServiceAccountToken: true, or set GRAYMW_REGISTRY_TOKEN"):
        server.headers()


def test_settings_come_before_the_service_account(account: Path) -> None:
    server, _ = read("kubernetes:///shop", account, access=Access(token="mine", ca="/my/ca.pem"))
    assert server.headers() == {"authorization": "Bearer mine"}
    assert server.access.ca == "/my/ca.pem"


def test_a_client_certificate_takes_the_place_of_the_token(account: Path) -> None:
    server, _ = read("kubernetes:///shop", account, access=Access(cert="/my/cert.pem"))
    assert server.headers() == {}


def test_the_token_of_the_pod_never_goes_to_a_server_that_the_url_names(account: Path) -> None:
    server, options = read("kubernetes://other.example.com/shop", account)
    assert server.headers() == {}
    assert server.access == Access()
    assert options.home == "shop"


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("kubernetes://api.example.com/shop", "https://api.example.com:443"),
        ("kubernetes://api.example.com:6443/shop", "https://api.example.com:6443"),
        ("kubernetes+https://api.example.com:6443/shop", "https://api.example.com:6443"),
        ("kubernetes://[fd00::1]:6443/shop", "https://[fd00::1]:6443"),
        ("kubernetes+http://127.0.0.1:8001/shop", "http://127.0.0.1:8001"),
    ],
)
def test_a_named_server_speaks_tls_unless_the_url_says_otherwise(url: str, base: str) -> None:
    assert read(url, environ={})[0].url == base


def test_an_ipv6_cluster_has_an_ipv6_server() -> None:
    server, _ = read("kubernetes://", environ={"KUBERNETES_SERVICE_HOST": "fd00::1"})
    assert server.url == "https://[fd00::1]:443"


@pytest.mark.parametrize(
    ("url", "namespaces", "home"),
    [
        ("kubernetes:///", ("shop",), "shop"),
        ("kubernetes:///*", (), "shop"),
        ("kubernetes:///billing", ("billing",), "billing"),
        ("kubernetes:///billing,shop", ("billing", "shop"), "shop"),
        ("kubernetes:///billing, search", ("billing", "search"), "billing"),
        ("kubernetes://host/*", (), "default"),
        ("kubernetes://host", ("default",), "default"),
    ],
)
def test_the_path_names_namespaces(account: Path, url: str, namespaces: tuple[str, ...], home: str) -> None:
    _, options = read(url, account)
    assert (options.namespaces, options.home) == (namespaces, home)


def test_the_query_says_how_the_cluster_is_read() -> None:
    query = "port=grpc&version_label=rel,version&family=ipv6&selector=team=a&cluster_domain=k8s.example.com."
    _, options = read(f"kubernetes://host/shop?{query}")
    assert (options.port, options.version_labels, options.family) == ("grpc", ("rel", "version"), "IPv6")
    assert (options.selector, options.domain) == ("team=a", "k8s.example.com")


def test_versions_by_services_are_told_by_a_label_of_ours_alone() -> None:
    """``app.kubernetes.io/version`` on a Service is the version of a chart, and says nothing of its pods."""
    _, options = read("kubernetes://host/shop?versions=service")
    assert (options.versions, options.version_labels) == ("service", ("graymw.io/version",))


def test_a_pattern_for_names_means_versions_by_services() -> None:
    _, options = read("kubernetes://host/shop?service_name={service}-{version:blue|green}")
    assert options.versions == "service"
    assert options.service_name is not None


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("kubernetes://host/Shop", "'Shop' is no namespace"),
        ("kubernetes://host/a/b", "'a/b' is no namespace"),
        ("kubernetes://host/*,shop", "'*' is no namespace"),
        ("kubernetes://one,two/shop", "it names several API servers"),
        ("kubernetes://me:secret@host/shop", "Kubernetes knows no user and password; set GRAYMW_REGISTRY_TOKEN"),
        ("kubernetes://host/shop?prot=http", "there is no parameter prot; did you mean port?"),
        ("kubernetes://host/shop?versions=labels", "versions=labels means nothing; write versions=pods or service"),
        ("kubernetes://host/shop?family=both", "family=both means nothing"),
        ("kubernetes://host/shop?port=a b", "port=a b cannot be"),
        ("kubernetes://host/shop?version_label=a b", "version_label=a b cannot be"),
        ("kubernetes://host/shop?cluster_domain=a/b", "cluster_domain=a/b cannot be"),
        ("kubernetes://host/shop?service_name={service}", "it needs {service} and {version}, each once"),
        ("kubernetes://host/shop?versions=pods&service_name={service}-{version}", "leave one of the two out"),
    ],
)
def test_a_wrong_url_is_refused_with_the_mend(url: str, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(url)
    assert told in str(refused.value)
    assert "secret" not in str(refused.value)


def test_outside_of_a_cluster_a_server_must_be_named() -> None:
    with pytest.raises(SettingsError, match=r"in no pod of Kubernetes .* name the API server: kubernetes://HOST:6443"):
        read("kubernetes:///shop", environ={})
