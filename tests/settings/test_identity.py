from __future__ import annotations

from graymw.settings.identity import resource_identity


def test_nothing_told() -> None:
    assert resource_identity({}) == ("", "")


def test_resource_attributes_are_percent_decoded() -> None:
    told = {"OTEL_RESOURCE_ATTRIBUTES": " service.name = my%20shop ,a=b,service.version=1%2E10"}
    assert resource_identity(told) == ("my shop", "1.10")


def test_the_service_name_of_its_own_wins() -> None:
    told = {"OTEL_SERVICE_NAME": "orders", "OTEL_RESOURCE_ATTRIBUTES": "service.name=other,service.version=v2"}
    assert resource_identity(told) == ("orders", "v2")


def test_malformed_members_are_passed_over() -> None:
    assert resource_identity({"OTEL_RESOURCE_ATTRIBUTES": ",,=,x,service.version=v=2,%ff=%ff"}) == ("", "v=2")
