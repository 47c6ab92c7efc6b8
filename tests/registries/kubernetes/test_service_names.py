from __future__ import annotations

import re

import pytest

from graymw.registries.kubernetes.service_names import NamePattern


@pytest.mark.parametrize(
    ("pattern", "name", "service", "version"),
    [
        ("{service}-{version}", "orders-v2", "orders", "v2"),
        ("{service}-{version}", "payment-api-v2beta1", "payment-api", "v2beta1"),
        ("{service}-{version}", "orders-2", "orders", "2"),
        ("{version}-{service}", "v2-orders", "orders", "v2"),
        ("svc-{service}-{version}-http", "svc-orders-v2-http", "orders", "v2"),
        ("{service}-{version:stable|canary}", "payment-api-canary", "payment-api", "canary"),
        ("{service}-{version:v1-0|v1-1}", "orders-v1-1", "orders", "v1-1"),
    ],
)
def test_a_name_tells_service_and_version(pattern: str, name: str, service: str, version: str) -> None:
    assert NamePattern(pattern).read(name) == (service, version)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{service}-{version}", "orders"),
        ("{service}-{version}", "payment-api"),
        ("{service}-{version}", "-v2"),
        ("{service}-{version:stable|canary}", "orders-v2"),
        ("svc-{service}-{version}", "orders-v2"),
    ],
)
def test_any_other_name_tells_no_version(pattern: str, name: str) -> None:
    assert NamePattern(pattern).read(name) is None


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("{service}", "it needs {service} and {version}, each once"),
        ("{service}-{version}-{version}", "it needs {service} and {version}, each once"),
        ("{service}-{tag}", "it needs {service} and {version}, each once"),
        ("{service:a|b}-{version}", "only {version:…} takes words"),
        ("{service}-{version:}", "'' are no versions"),
        ("{service}-{version:(a+)+}", "'(a+)+' are no versions"),
        ("{service}.*{version}", "'.*' cannot stand in the name of a Service"),
        ("{service}-{version", "it needs {service} and {version}, each once"),
    ],
)
def test_a_wrong_pattern_is_refused(pattern: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        NamePattern(pattern)
