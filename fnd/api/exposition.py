"""A scrape's snapshot as Prometheus' metrics: names, labels and what they mean.

A function's numbers are those of all its pools, so they start again when its last pool is forgotten: to
Prometheus a counter reset, which its functions expect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from fnd import __version__

if TYPE_CHECKING:
    from fnd.api.metrics import Snapshot

MIB: Final = 1 << 20
FUNCTION: Final = ("app", "fn")
OPEN_METRICS_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
DAEMON_STATES: Final = ("starting", "ready", "draining", "stopping")


def render(snapshot: Snapshot, open_metrics: bool) -> tuple[bytes, str]:
    """Return the metrics as text, OpenMetrics 1.0 or Prometheus' own 0.0.4, and its content type."""
    registry = CollectorRegistry()
    registry.register(_Collector(snapshot))
    ProcessCollector(registry=registry)
    if open_metrics:
        return openmetrics.generate_latest(registry), OPEN_METRICS_TYPE  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


class _Collector(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def describe(self) -> list[Metric]:
        """Say nothing beforehand: the registry would collect everything once to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._daemon()
        yield from self._machine()
        yield from self._functions()

    def _daemon(self) -> Iterator[Metric]:
        snapshot = self._snapshot
        yield InfoMetricFamily("fnd", "Which fnd this is.", {"version": __version__})
        state = GaugeMetricFamily("fnd_state", "1 for the state the daemon is in.", labels=["state"])
        for name in DAEMON_STATES:
            state.add_metric([name], name == snapshot.state)
        yield state
        yield GaugeMetricFamily("fnd_store_up", "1 if the store did what it was last asked to.", snapshot.store.ok)
        yield GaugeMetricFamily("fnd_apps", "Apps there are.", snapshot.catalog.apps)
        yield GaugeMetricFamily("fnd_fns", "Fns there are.", snapshot.catalog.fns)
        yield GaugeMetricFamily("fnd_triggers", "Triggers there are.", snapshot.catalog.triggers)

    def _machine(self) -> Iterator[Metric]:
        agent = self._snapshot.agent
        yield GaugeMetricFamily(
            "fnd_memory_limit_bytes", "Memory for all containers together.", agent.memory_limit * MIB
        )
        yield GaugeMetricFamily(
            "fnd_memory_reserved_bytes", "Memory that containers have reserved.", agent.memory_reserved * MIB
        )
        yield GaugeMetricFamily(
            "fnd_cpu_limit_cores", "Processors that containers may reserve.", agent.cpu_limit / 1000
        )
        yield GaugeMetricFamily("fnd_cpu_reserved_cores", "Of those, what they have.", agent.cpu_reserved / 1000)
        yield GaugeMetricFamily("fnd_calls_running", "Calls that a container runs.", agent.calls_running)
        yield GaugeMetricFamily("fnd_calls_waiting", "Calls that wait for a container.", agent.calls_waiting)
        yield CounterMetricFamily("fnd_calls", "Calls since the daemon's start.", agent.calls_total)
        yield CounterMetricFamily("fnd_launches", "Containers launched since the daemon's start.", agent.launches_total)

    def _functions(self) -> Iterator[Metric]:
        waiting, calls, failures, launches, containers = (Counter[tuple[str, ...]]() for _ in range(5))
        for pool in self._snapshot.agent.pools:
            function = (pool.app_name, pool.fn_name)
            waiting[function] += pool.waiting
            calls[function] += pool.calls
            failures[function] += pool.failures
            launches[function] += pool.launches
            for container in pool.containers:
                containers[(*function, container.state)] += 1
        yield _labelled(
            GaugeMetricFamily("fnd_fn_calls_waiting", "Calls that wait for a container.", labels=FUNCTION), waiting
        )
        yield _labelled(CounterMetricFamily("fnd_fn_calls", "Calls of the function.", labels=FUNCTION), calls)
        yield _labelled(
            CounterMetricFamily("fnd_fn_failures", "Calls that the function failed.", labels=FUNCTION), failures
        )
        yield _labelled(
            CounterMetricFamily("fnd_fn_launches", "Containers launched for the function.", labels=FUNCTION),
            launches,
        )
        yield _labelled(
            GaugeMetricFamily(
                "fnd_fn_containers", "Containers of the function, by state.", labels=(*FUNCTION, "state")
            ),
            containers,
        )


def _labelled(
    family: GaugeMetricFamily | CounterMetricFamily, values: Counter[tuple[str, ...]]
) -> GaugeMetricFamily | CounterMetricFamily:
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
