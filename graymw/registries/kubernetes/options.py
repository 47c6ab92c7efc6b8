"""What ``kubernetes://…`` means: which namespaces, which port, where a version stands."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NoReturn, TypeAlias

from graymw.errors import Problem, SettingsError
from graymw.registries.kubernetes.service_names import NamePattern
from graymw.remote.kubernetes.server import SERVICE_ACCOUNT, ApiServer
from graymw.remote.url import BackendUrl, parse_backend_url
from graymw.settings.access import Access

Versions: TypeAlias = Literal["pods", "service"]
Family: TypeAlias = Literal["IPv4", "IPv6"]

SETTING: Final = "GRAYMW_REGISTRY"
EXAMPLE: Final = "kubernetes:///shop, kubernetes:///* or kubernetes://api.example.com:6443/shop?port=http"
VERSION_LABELS: Final = ("graymw.io/version", "version", "app.kubernetes.io/version")
"""Labels of pods that tell a version. Of Services only the first does: the others may tell the version of a chart."""

EVERYWHERE: Final = "*"

_PARAMETERS: Final = ("cluster_domain", "family", "port", "selector", "service_name", "version_label", "versions")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PORT: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_DOMAIN: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_LABEL: Final = re.compile(r"([A-Za-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Options:
    """How to read a cluster.

    Attributes:
        namespaces: Where services are looked up; none for everywhere.
        home: Namespace whose services are also known by their bare name.
        port: Name or number of the port; empty: the only one, or the one that speaks HTTP.
        family: Which address of an endpoint that has both counts.
        versions: Whether a version is a label of pods, or of Services of which there is one for each version.
        version_labels: Labels that tell a version; the first that is there counts.
        service_name: How Services of one version are called; None where only their labels tell.
        selector: Label selector of the Services that count; empty for all.
        domain: Domain of the cluster, behind ``svc``.
    """

    namespaces: tuple[str, ...] = ()
    home: str = "default"
    port: str = ""
    family: Family = "IPv4"
    versions: Versions = "pods"
    version_labels: tuple[str, ...] = VERSION_LABELS
    service_name: NamePattern | None = None
    selector: str = ""
    domain: str = "cluster.local"


def read_url(
    url: str, access: Access, *, environ: Mapping[str, str] | None = None, account: Path = SERVICE_ACCOUNT
) -> tuple[ApiServer, Options]:
    """Which API server is asked, and how the cluster is read.

    Args:
        url: ``kubernetes://[HOST:PORT]/[NAMESPACE[,NAMESPACE…]|*][?…]``.
        access: Credentials of the settings.
        environ: Of the process.
        account: Folder of the pod's service account.

    Raises:
        SettingsError: The URL is wrong, or names no server outside of a cluster.
    """
    parsed = parse_backend_url(
        url, setting=SETTING, default_port=443, parameters=_PARAMETERS, example=EXAMPLE, host_needed=False
    )
    if parsed.user or parsed.password or access.user or access.password:
        _refuse("Kubernetes knows no user and password", f"set {SETTING}_TOKEN, or {SETTING}_CERT and {SETTING}_KEY")
    if len(parsed.hosts) > 1:
        _refuse("it names several API servers", "name the one address that stands before them")
    own = _own_namespace(account)
    if parsed.hosts:
        # An API server always speaks TLS; what does not is `kubectl proxy`.
        plain = url.lower().startswith("kubernetes+http:")
        (base,) = dataclasses.replace(parsed, secure=not plain).base_urls
        server: ApiServer | None = ApiServer(base, access)
        own = ""
    else:
        server = ApiServer.of_this_pod(os.environ if environ is None else environ, access, account)
    if server is None:
        _refuse(
            "this process runs in no pod of Kubernetes (KUBERNETES_SERVICE_HOST is not set)",
            "name the API server: kubernetes://HOST:6443/NAMESPACE",
        )
    return server, _options(parsed, own)


def _options(parsed: BackendUrl, own: str) -> Options:
    """What path and query say.

    Args:
        parsed: The URL.
        own: Namespace of this pod; empty where it is in none of that cluster.
    """
    query = parsed.query
    written = [name.strip() for name in parsed.path.strip("/").split(",") if name.strip()]
    everywhere = written == [EVERYWHERE]
    namespaces = () if everywhere else tuple(dict.fromkeys(written)) or (own or "default",)
    for namespace in namespaces:
        if not _NAMESPACE.fullmatch(namespace):
            _refuse(f"{namespace!r} is no namespace", f"write it like {EXAMPLE}")
    home = own if own and (everywhere or own in namespaces) else (namespaces[0] if namespaces else "default")
    labels = tuple(label.strip() for label in query.get("version_label", "").split(",") if label.strip())
    for label in labels:
        _checked(label, _LABEL, "version_label", "a label of pods such as version")
    service_name = query.get("service_name", "")
    versions = _one_of(query, "versions", ("pods", "service"), "service" if service_name else "pods")
    if service_name and versions == "pods":
        _refuse("service_name tells versions by Services, and versions=pods by pods", "leave one of the two out")
    return Options(
        namespaces=namespaces,
        home=home,
        port=_checked(query.get("port", ""), _PORT, "port", "the name of a port, such as http, or its number"),
        family="IPv6" if _one_of(query, "family", ("ipv4", "ipv6"), "ipv4") == "ipv6" else "IPv4",
        versions="service" if versions == "service" else "pods",
        version_labels=labels or (VERSION_LABELS[:1] if versions == "service" else VERSION_LABELS),
        service_name=_pattern(service_name) if service_name else None,
        selector=query.get("selector", ""),
        domain=_checked(
            query.get("cluster_domain", "cluster.local").strip(".").lower(), _DOMAIN, "cluster_domain", "cluster.local"
        ),
    )


def _own_namespace(account: Path) -> str:
    try:
        return (account / "namespace").read_text("utf-8").strip()
    except (OSError, ValueError):
        return ""


def _checked(value: str, shape: re.Pattern[str], name: str, wanted: str) -> str:
    if value and not shape.fullmatch(value):
        _refuse(f"{name}={value} cannot be", f"write {wanted}")
    return value


def _one_of(query: Mapping[str, str], name: str, words: tuple[str, ...], default: str) -> str:
    word = query.get(name, default).lower()
    if word not in words:
        _refuse(f"{name}={word} means nothing", f"write {name}={' or '.join(words)}")
    return word


def _pattern(written: str) -> NamePattern:
    try:
        return NamePattern(written)
    except ValueError as error:
        _refuse(
            f"service_name={written}: {error}", "write it like {service}-{version} or {service}-{version:blue|green}"
        )


def _refuse(message: str, mend: str) -> NoReturn:
    raise SettingsError([Problem(SETTING, message, mend)])
