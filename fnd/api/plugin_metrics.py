"""Plugins' own metrics, for /metrics: each source is asked in a thread, and what it may do wrong stays its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

import trio

from fnd.hookspecs import MetricsSource
from fnd.plugins import Plugin, describe

SECONDS: Final = 2.0
"""Which a source may take for one scrape."""
MOST_SAMPLES: Final = 10_000
MOST_NAMES: Final = 1_000
WHERE: Final = "metrics"


class PluginMetrics:
    """The sources of all plugins."""

    def __init__(self, sources: Mapping[Plugin, MetricsSource]) -> None:
        self._sources = [_Source(plugin, source) for plugin, source in sources.items()]

    async def collect(self) -> list[tuple[Plugin, list[Any]]]:
        """Return what each plugin has to tell, of those that do in time. Cancelled: their threads end by themselves."""
        found: dict[Plugin, list[Any]] = {}
        async with trio.open_nursery() as nursery:
            for source in self._sources:
                nursery.start_soon(source.collect, found)
        # In the same order at each scrape: of two with the same name it is always the same one that is told.
        return [(source.plugin, found[source.plugin]) for source in self._sources if source.plugin in found]


class _Source:
    def __init__(self, plugin: Plugin, source: MetricsSource) -> None:
        self.plugin = plugin
        self._source = source
        self._turn = trio.CapacityLimiter(1)
        """Held until its thread has returned: one that hangs takes no other, and is asked no more."""

    async def collect(self, found: dict[Plugin, list[Any]]) -> None:
        with trio.move_on_after(SECONDS) as limit:
            got = await trio.to_thread.run_sync(
                _contained, self._source, abandon_on_cancel=True, limiter=self._turn, thread_name=self.plugin.name
            )
        if limit.cancelled_caught:
            self.plugin.trouble(WHERE, f"slow: it had not returned after {SECONDS:g} s")
        elif isinstance(got, BaseException):
            self.plugin.trouble(WHERE, describe(got), got)
        else:
            found[self.plugin] = got


def _contained(source: MetricsSource) -> list[Any] | BaseException:
    """Return a source's metrics, or what it raised, whatever that is: nothing of it is to end the daemon."""
    try:
        return list(_bounded(source))
    except BaseException as error:
        return error


def _bounded(source: MetricsSource) -> Iterator[Any]:
    samples = 0
    metrics = iter(source.collect())
    for metric in islice(metrics, MOST_NAMES):
        samples += len(metric.samples)
        if samples > MOST_SAMPLES:
            raise ValueError(f"it has more than {MOST_SAMPLES} samples")
        yield metric
    if next(metrics, None) is not None:
        raise ValueError(f"it has more than {MOST_NAMES} metrics")
