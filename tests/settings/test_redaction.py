from __future__ import annotations

import pytest

from graymw.settings.redaction import redacted


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:pa@ss@host:6379/0?key=rules", "redis://***@host:6379/0?key=rules"),
        ("etcd+https://host:2379/k?token=abc&x=1#f", "etcd+https://host:2379/k?token=***&x=1#f"),
        ("nacos://h/d?accessKey=a&secretKey=b&password=", "nacos://h/d?accessKey=***&secretKey=***&password=***"),
        ("https://h/r?sig=a&X-Amz-Signature=b&key=k&x=1", "https://h/r?sig=***&X-Amz-Signature=***&key=k&x=1"),
        ("https://h/r?X-Amz-Credential=a&api_key=b", "https://h/r?X-Amz-Credential=***&api_key=***"),
        ("etcd:user:pass@host/k", "etcd:***@host/k"),
        ("redis://user:pa\nss@host", "redis://***@host"),
        ("rules@v1.yaml", "rules@v1.yaml"),
        ("file:///etc/rules.yaml", "file:///etc/rules.yaml"),
        ("consul://host:8500/a@b", "consul://host:8500/a@b"),
    ],
)
def test_credentials_are_not_shown(url: str, shown: str) -> None:
    assert redacted(url) == shown
