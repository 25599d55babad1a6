"""Plugins' own metrics stand in /metrics beside fnd's, and whatever is wrong with them leaves those as they are."""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse

from fnd.api import plugin_metrics
from fnd.api.app import make_application
from fnd.api.plugin_metrics import PluginMetrics
from fnd.hookspecs import MetricsSource
from fnd.plugins import Plugin
from tests.management import Management, managing


@pytest.fixture
async def management(tmp_path: Path) -> AsyncIterator[Management]:
    async with managing(tmp_path) as management:
        yield management


async def scrape(management: Management, sources: dict[Plugin, MetricsSource], accept: str = "") -> dict[str, float]:
    services = attrs.evolve(management.services, metrics=PluginMetrics(sources))
    transport = httpx.ASGITransport(make_application(services))
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        response = await client.get("/metrics", headers={"accept": accept})
    assert response.status_code == 200
    reading = parse_open_metrics if "openmetrics" in response.headers["content-type"] else parse
    samples = [sample for family in reading(response.text) for sample in family.samples]
    found = {sample.name: sample.value for sample in samples if not sample.labels}
    assert "fnd_calls_total" in found, "fnd's own are there, whatever plugins do"
    return found


class Source:
    """Collects what it is told."""

    def __init__(self, *metrics: Any) -> None:
        self.metrics = metrics

    def collect(self) -> Iterable[Any]:
        for metric in self.metrics:
            yield metric() if callable(metric) else metric


GAUGE = GaugeMetricFamily("outsider_size", "How large.", 5)


@pytest.fixture
def plugin() -> Plugin:
    return Plugin("outsider", "", "")


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text;version=1.0.0"])
async def test_they_are_told_in_both_formats(management: Management, plugin: Plugin, accept: str) -> None:
    registry = CollectorRegistry()
    Counter("other_things", "Things.", registry=registry).inc(3)
    found = await scrape(management, {plugin: Source(GAUGE), Plugin("other", "", ""): registry}, accept)
    assert (found["outsider_size"], found["other_things_total"]) == (5, 3)
    assert plugin.status().state == "in use"


@pytest.mark.parametrize(
    ("metrics", "error"),
    [
        ([GAUGE, lambda: 1 // 0], "ZeroDivisionError: integer division or modulo by zero"),
        ([lambda: sys.exit(3)], "SystemExit: 3"),
        ([5], "AttributeError: 'int' object has no attribute 'samples'"),
        ([GaugeMetricFamily("outsider_odd", "Odd.", "five")], "they cannot be written: ValueError"),  # type: ignore[arg-type]
    ],
)
async def test_a_source_that_fails_is_named_and_left_out(
    management: Management, plugin: Plugin, metrics: list[Any], error: str
) -> None:
    other = Plugin("other", "", "")
    found = await scrape(management, {plugin: Source(*metrics), other: Source(GaugeMetricFamily("other", "Other.", 1))})
    assert not {name for name in found if name.startswith("outsider")}
    assert found["other"] == 1
    (trouble,) = plugin.status().troubles
    assert trouble.where == "metrics"
    assert error in trouble.error


async def test_a_name_that_fnd_or_another_has_is_left_out(management: Management, plugin: Plugin) -> None:
    taken = GaugeMetricFamily("fnd_calls_total", "Not its own.", 1)
    found = await scrape(management, {plugin: Source(taken, GAUGE), Plugin("b", "", ""): Source(GAUGE)})
    assert found["outsider_size"] == 5
    assert plugin.status().troubles[0].error == "fnd_calls_total is the name of another metric"


async def test_one_with_too_many_is_left_out(
    management: Management, plugin: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin_metrics, "MOST_SAMPLES", 10)
    many = GaugeMetricFamily("outsider_many", "Many.", labels=["n"])
    for number in range(11):
        many.add_metric([str(number)], number)
    await scrape(management, {plugin: Source(many)})
    assert plugin.status().troubles[0].error == "ValueError: it has more than 10 samples"


async def test_endless_ones_end(management: Management, plugin: Plugin) -> None:
    class Endless:
        def collect(self) -> Iterable[Any]:
            while True:
                yield GaugeMetricFamily("outsider_more", "More.", labels=["n"])

    await scrape(management, {plugin: Endless()})
    assert plugin.status().troubles[0].error == "ValueError: it has more than 1000 metrics"


async def test_one_that_hangs_is_left_out_and_not_asked_again_until_it_has_returned(
    management: Management, plugin: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin_metrics, "SECONDS", 0.05)
    let_go = threading.Event()
    asked: list[int] = []

    class Hangs:
        def collect(self) -> Iterable[Any]:
            asked.append(1)
            let_go.wait()
            return []

    services = attrs.evolve(management.services, metrics=PluginMetrics({plugin: Hangs()}))
    try:
        await services.metrics.collect()
        await services.metrics.collect()
        assert (len(asked), plugin.status().troubles[0].count) == (1, 2)
        assert plugin.status().troubles[0].error == "slow: it had not returned after 0.05 s"
    finally:
        let_go.set()
