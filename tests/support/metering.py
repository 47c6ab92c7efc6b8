"""What a meter provider of the SDK collected, as plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry.sdk.metrics.export import InMemoryMetricReader

DURATION = "graymw.server.request.duration"
DECISIONS = "graymw.decisions"


class Metered:
    """Metrics of graymw, as a reader collects them now.

    >>> metered.values(DECISIONS, "gray.version")
    {"v2": 3}
    """

    def __init__(self, reader: InMemoryMetricReader) -> None:
        self._reader = reader

    def points(self) -> Iterator[tuple[str, Mapping[str, Any], float]]:
        """Name, attributes and value of each; how often it was recorded stands for a histogram."""
        data = self._reader.get_metrics_data()
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                assert scope.scope.name == "graymw"
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        yield (
                            metric.name,
                            dict(point.attributes or {}),
                            getattr(point, "value", None) or getattr(point, "count", 0),
                        )

    def values(self, name: str, *attributes: str) -> dict[Any, float]:
        """Sum of a metric by some of its attributes, those that are zero left out; by the only one without a tuple."""
        found: dict[Any, float] = {}
        for metric, held, value in self.points():
            if metric == name and value:
                key = tuple(held.get(attribute) for attribute in attributes)
                key = key[0] if len(key) == 1 else key
                found[key] = found.get(key, 0) + value
        return found

    def total(self, name: str) -> float:
        """Sum of a metric."""
        return sum(value for metric, _, value in self.points() if metric == name)

    def names(self) -> set[str]:
        """Of all metrics that have a value, zero or not."""
        return {name for name, _, _ in self.points()}
