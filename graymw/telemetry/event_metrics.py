"""What this process counted (``graymw.runtime.counters``) as metrics; what has none of its own is an event."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from graymw.runtime import counters


class EventMetric(NamedTuple):
    """A metric fed by counters.

    Attributes:
        counter: Name of the counter, or what the names of several begin with, up to a dot.
        attribute: Holds the rest of such a name; empty where there is none.
        always: Values of the attribute that are told though nothing happened yet: a rate needs its zero.
    """

    name: str
    unit: str
    description: str
    counter: str
    attribute: str = ""
    always: tuple[str, ...] = ("",)

    def value_of(self, counter: str) -> str | None:
        """Value of the attribute for a counter; None where that counter is not of this metric."""
        if counter == self.counter:
            return ""
        begin = f"{self.counter}."
        return counter[len(begin) :] if self.attribute and counter.startswith(begin) else None


METRICS: Final = (
    EventMetric("graymw.misroutes", "{request}", "Requests meant for another version than this instance", "misrouted"),
    EventMetric(
        "graymw.fallbacks",
        "{call}",
        "Calls sent to another version than the decided one, for want of an instance",
        "fallback",
        "gray.fallback",
        ("stable", "any"),
    ),
    EventMetric("graymw.unavailable", "{call}", "Calls refused for want of an instance", "outbound.unavailable"),
    EventMetric("graymw.ejections", "{ejection}", "Instances passed by for a while because they failed", "ejected"),
    EventMetric(
        "graymw.retries",
        "{call}",
        "Calls that failed at an instance and were tried at another, or not for want of budget",
        "retry",
        "gray.retry",
        ("sent", "refused"),
    ),
    EventMetric(
        "graymw.context.lost", "{call}", "Calls that left a request's work without its context", "lost_context"
    ),
    EventMetric(
        "graymw.baggage.faults",
        "{fault}",
        "Inbound gray baggage that was not believed or could not be read",
        "baggage",
        "gray.fault",
        (),
    ),
    EventMetric(
        "graymw.rules.errors", "{error}", "Rules that failed for a request, and so did not match", "rules.error"
    ),
    EventMetric(
        "graymw.rules.refused", "{document}", "Rule documents refused; the last good one stays", "rules.refused"
    ),
)
EVENTS: Final = EventMetric(
    "graymw.events", "{event}", "Anything else out of the ordinary, by graymw's own name for it", "", "gray.event", ()
)


def create_event_metrics(meter: Meter) -> None:
    """Create the counters of a meter."""
    for metric in (*METRICS, EVENTS):
        meter.create_observable_counter(metric.name, [_callback(metric)], metric.unit, metric.description)


def _callback(metric: EventMetric) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_options: CallbackOptions) -> Iterator[Observation]:
        for value, count in values(metric, counters.snapshot()).items():
            yield Observation(count, {metric.attribute: value} if metric.attribute and value else {})

    return observe


def values(metric: EventMetric, counts: Mapping[str, int]) -> dict[str, int]:
    """Counts of one metric by the value of its attribute."""
    if metric is EVENTS:
        return {name: n for name, n in counts.items() if all(each.value_of(name) is None for each in METRICS)}
    found = dict.fromkeys(metric.always, 0)
    for name, n in counts.items():
        value = metric.value_of(name)
        if value is not None:
            found[value] = found.get(value, 0) + n
    return found
