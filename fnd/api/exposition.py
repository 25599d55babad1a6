"""A scrape's snapshot as Prometheus' metrics: names, labels and what they mean.

A function's numbers are those of all its pools, so they start again when its last pool is forgotten: to
Prometheus a counter reset, which its functions expect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from fnd import __version__
from fnd.plugins import describe

if TYPE_CHECKING:
    from fnd.api.metrics import Snapshot
    from fnd.plugins import Plugin

MIB: Final = 1 << 20
FUNCTION: Final = ("app", "fn")
OPEN_METRICS_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_OPEN_METRICS_END: Final = b"# EOF\n"
DAEMON_STATES: Final = ("starting", "ready", "draining", "stopping")


def render(
    snapshot: Snapshot, of_plugins: Sequence[tuple[Plugin, Sequence[Metric]]], open_metrics: bool
) -> tuple[bytes, str, list[tuple[Plugin, str]]]:
    """Return the metrics as text, OpenMetrics 1.0 or Prometheus' own 0.0.4, and its content type.

    Last comes what was left out of plugins' metrics, and why: what cannot be written, and names that others have.
    """
    metrics = list(_Collector(snapshot).collect())
    metrics += ProcessCollector(registry=None).collect()
    taken = {name for metric in metrics for name in _names(metric)}
    write = _open_metrics if open_metrics else generate_latest
    parts = [write(_Found(metrics))]
    left_out = []
    for plugin, found in of_plugins:
        new: list[Metric] = []
        try:
            for metric in found:
                names = _names(metric)
                if names & taken:
                    left_out.append((plugin, f"{metric.name} is the name of another metric"))
                else:
                    taken |= names
                    new.append(metric)
            parts.append(write(_Found(new)))
        except Exception as error:
            left_out.append((plugin, f"they cannot be written: {describe(error)}"))
    if open_metrics:
        return b"".join(parts) + _OPEN_METRICS_END, OPEN_METRICS_TYPE, left_out
    return b"".join(parts), CONTENT_TYPE_PLAIN_0_0_4, left_out


def _open_metrics(found: _Found) -> bytes:
    written: bytes = openmetrics.generate_latest(found)  # type: ignore[no-untyped-call]
    return written.removesuffix(_OPEN_METRICS_END)


def _names(metric: Metric) -> set[str]:
    """Return the names that a metric takes in the text."""
    return {metric.name, *(sample.name for sample in metric.samples)}


class _Found(CollectorRegistry):
    """Metrics that have been collected already."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        super().__init__()
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


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
