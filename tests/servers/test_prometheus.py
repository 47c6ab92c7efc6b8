"""Metrics as a real Prometheus has them: two services under traffic, our alert rules, our dashboard's queries."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from real_prometheus import RULES, Prometheus, promtool
from serving import Service, serving
from waiting import eventually

from graymw.demo.processes import free_ports

HERE = Path(__file__).parent / "prometheus"
DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana" / "graymw.json"
COUNT = "graymw_server_request_duration_seconds_count"
GRAY = {"x-gray-version": "true"}
DOCUMENT = {
    "schema": 1,
    "releases": {
        "checkout": {
            "services": ["orders"],
            "stable": "v1",
            "rules": [
                {"name": "failing", "when": "1 % int(request.headers['x-n']) == 0", "use": "v2"},
                {"name": "testers", "match": {"header": {"x-gray-version": "true"}}, "use": "v2"},
                {"name": "canary", "split": {"v2": "0.01%"}},
            ],
        }
    },
}


class Shop:
    """An edge, which no release governs, and orders behind it, of which there is no v2."""

    def __init__(self, edge: Service, orders: Service) -> None:
        self.edge = edge
        self.orders = orders

    def ask(self, service: Service, path: str, headers: dict[str, str], times: int) -> None:
        for _ in range(times):
            try:
                service.ask(path, headers)
            except HTTPError as error:
                error.close()


@pytest.fixture(scope="module")
def shop(prometheus: Prometheus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Scraped, and asked: 8 stable requests and 5 gray ones, of which 2 fail; and one that an outsider made up."""
    folder = tmp_path_factory.mktemp("shop")
    rules = folder / "rules.json"
    rules.write_text(json.dumps(DOCUMENT))
    edge, orders, edge_metrics, orders_metrics = free_ports(4)
    common = {
        "OTEL_METRICS_EXPORTER": "prometheus",
        "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1",
        "GRAYMW_RULES": str(rules),
        "GRAYMW_VERSION": "v1",
        "GRAYMW_SERVICES": json.dumps({"orders": [{"url": f"http://127.0.0.1:{orders}", "version": "v1"}]}),
        "GRAYMW_STATE_DIR": str(folder / "state"),
        "NEXT": "http://orders/order",
        "HOME": str(folder),
    }
    environs = {
        "edge": {**common, "GRAYMW_SERVICE": "edge", "OTEL_EXPORTER_PROMETHEUS_PORT": str(edge_metrics)},
        "orders": {**common, "GRAYMW_SERVICE": "orders", "OTEL_EXPORTER_PROMETHEUS_PORT": str(orders_metrics)},
    }
    command = ["python", "-m", "uvicorn", "shop:app", "--port"]
    with (
        serving([*command, str(orders)], environs["orders"], folder, orders, cwd=HERE) as behind,
        serving([*command, str(edge)], environs["edge"], folder, edge, cwd=HERE) as front,
    ):
        prometheus.scrape({"edge": edge_metrics, "orders": orders_metrics})
        running = Shop(front, behind)
        # Rates need a sample from before: each series is there once before it is counted.
        running.ask(front, "/checkout?status=503", GRAY, 1)
        running.ask(front, "/checkout", GRAY, 1)
        running.ask(front, "/checkout", {"x-n": "7", "x-user-id": "7"}, 1)
        eventually(lambda: len(prometheus.query(COUNT)) == 6, 30)
        running.ask(front, "/checkout", {"x-n": "7", "x-user-id": "7"}, 7)
        running.ask(front, "/checkout", GRAY, 2)
        running.ask(front, "/checkout?status=503", GRAY, 1)
        outsider = {"x-n": "7", "x-user-id": "7", "x-forwarded-for": "203.0.113.9", "baggage": "gray.checkout=evil"}
        running.ask(behind, "/order", outsider, 1)
        eventually(lambda: sum(prometheus.by(COUNT, "job", "gray_version", "gray_status_class").values()) == 27, 30)
        yield running


class TestTwoServices:
    """The edge decides, orders inherits; orders is of v1 only."""

    def test_tell_requests_and_errors_by_version(self, prometheus: Prometheus, shop: Shop) -> None:
        told = prometheus.by(COUNT, "job", "gray_release", "gray_version", "gray_active", "gray_status_class")
        assert told == {
            ("edge", "checkout", "v1", "false", "2xx"): 8,
            ("edge", "checkout", "v2", "true", "2xx"): 3,
            ("edge", "checkout", "v2", "true", "5xx"): 2,
            ("orders", "checkout", "v1", "false", "2xx"): 9,
            ("orders", "checkout", "v2", "true", "2xx"): 3,
            ("orders", "checkout", "v2", "true", "5xx"): 2,
        }

    def test_tell_who_decided(self, prometheus: Prometheus, shop: Shop) -> None:
        assert prometheus.by("graymw_decisions_total", "job", "gray_version", "gray_reason") == {
            ("edge", "v1", "split"): 8,
            ("edge", "v2", "match"): 5,
            ("orders", "v1", "inherited"): 8,
            ("orders", "v2", "inherited"): 5,
            ("orders", "v1", "split"): 1,
        }

    def test_tell_what_is_not_as_it_should_be(self, prometheus: Prometheus, shop: Shop) -> None:
        assert prometheus.by("graymw_misroutes_total", "job") == {"edge": 0, "orders": 5}
        assert prometheus.by("graymw_fallbacks_total", "job", "gray_fallback") == {
            ("edge", "stable"): 5,
            ("edge", "any"): 0,
            ("orders", "stable"): 0,
            ("orders", "any"): 0,
        }
        assert prometheus.by("graymw_rules_errors_total", "job") == {"edge": 5, "orders": 0}
        assert prometheus.by("graymw_baggage_faults_total", "job", "gray_fault") == {("orders", "untrusted.outside"): 1}

    def test_tell_the_rules_they_work_by(self, prometheus: Prometheus, shop: Shop) -> None:
        (revision,) = prometheus.by("count by (gray_revision) (graymw_rules_revision)", "gray_revision")
        assert re.fullmatch("[0-9a-f]{8}", revision)
        assert prometheus.by("graymw_rules_stale", "job") == {"edge": 0, "orders": 0}
        assert prometheus.by("graymw_rules_share", "job", "gray_rule", "gray_version") == {
            ("edge", "canary", "v1"): 0.9999,
            ("edge", "canary", "v2"): 0.0001,
            ("orders", "canary", "v1"): 0.9999,
            ("orders", "canary", "v2"): 0.0001,
        }
        assert all(0 < age < 600 for age in prometheus.by("graymw_rules_age_seconds", "job").values())

    def test_are_named_by_their_resource(self, prometheus: Prometheus, shop: Shop) -> None:
        told = prometheus.by("target_info", "service_name", "service_version")
        assert set(told) == {("edge", "v1"), ("orders", "v1")}

    def test_make_few_series(self, prometheus: Prometheus, shop: Shop) -> None:
        ((_, series),) = prometheus.query('count({__name__=~"graymw_.*", __name__!~".*_bucket"})')
        assert series < 80
        assert not prometheus.query('{__name__=~"graymw_.*", gray_version="evil"}')


class TestAlertRules:
    def test_are_valid(self) -> None:
        checked = promtool("check", "rules", str(RULES))
        assert checked.returncode == 0, checked.stderr
        assert "8 rules found" in checked.stdout

    def test_fire_when_they_should(self) -> None:
        tested = promtool("test", "rules", str(HERE / "alerts.test.yaml"))
        assert tested.returncode == 0, tested.stdout + tested.stderr

    def test_are_evaluated_over_real_metrics(self, prometheus: Prometheus, shop: Shop) -> None:
        def rules() -> list[Any]:
            return [rule for group in prometheus.get("/api/v1/rules")["groups"] for rule in group["rules"]]

        eventually(lambda: all(rule["health"] == "ok" for rule in rules()), 20)
        assert [rule.get("lastError", "") for rule in rules()] == [""] * 8

    @pytest.mark.parametrize("alert", ["GrayMisroutes", "GrayFallbacks", "GrayRuleErrors"])
    def test_notice_what_happens(self, prometheus: Prometheus, shop: Shop, alert: str) -> None:
        eventually(lambda: prometheus.query(f'ALERTS{{alertname="{alert}"}}'), 20)

    def test_compare_gray_with_stable(self, prometheus: Prometheus, shop: Shop) -> None:
        def ratios() -> dict[Any, float]:
            return prometheus.by("graymw:error_ratio:rate5m", "job", "gray_active")

        eventually(lambda: ratios().get(("edge", "true"), 0) > 0, 20)
        found = ratios()
        assert found["edge", "false"] == found["orders", "false"] == 0
        assert 0 < found["edge", "true"] < 1


def queries() -> Iterator[tuple[str, str]]:
    """Title and query of everything the dashboard asks."""
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield f"{panel['title']} {target['refId']}", target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


class TestTheDashboard:
    @pytest.mark.parametrize(("title", "query"), [pytest.param(*each, id=each[0]) for each in queries()])
    def test_gets_data_for_each_query(self, prometheus: Prometheus, shop: Shop, title: str, query: str) -> None:
        asked = query.replace("$__rate_interval", "5m").replace("$__range", "5m")
        asked = asked.replace("$job", ".*").replace("$release", ".*")
        assert "$" not in asked
        if title == "Rules changed":
            prometheus.query(asked)  # they have not, or just begun: it is understood
            return
        eventually(lambda: prometheus.query(asked), 20)

    def test_has_a_query_in_every_panel_and_shows_each_metric(self) -> None:
        dashboard = json.loads(DASHBOARD.read_text())
        assert all(panel["targets"] for panel in dashboard["panels"] if panel["type"] != "row")
        asked = " ".join(query for _, query in queries())
        from graymw.telemetry.event_metrics import EVENTS, METRICS

        names = {metric.name.replace(".", "_") + "_total" for metric in (*METRICS, EVENTS)}
        names |= {"graymw_decisions_total", COUNT, "graymw_rules_share", "graymw_rules_stale", "graymw_rules_revision"}
        assert not {name for name in names if name not in asked}

    def test_takes_its_variables_from_metrics_there_are(self, prometheus: Prometheus, shop: Shop) -> None:
        variables = json.loads(DASHBOARD.read_text())["templating"]["list"]
        asked = [re.fullmatch(r"label_values\((\w+), (\w+)\)", v["definition"]) for v in variables if "definition" in v]
        found = [set(prometheus.by(match[1], match[2])) for match in asked if match]
        assert found == [{"edge", "orders"}, {"checkout"}]
