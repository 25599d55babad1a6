"""What a scrape tells, in both of the formats that Prometheus asks for."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse

from fnd.runtime.statistics import ContainerStatistics, PoolStatistics
from tests.management import Management, managing

POOL = PoolStatistics(
    app_id="A",
    app_name="shop",
    fn_id="F",
    fn_name='ca"rt\n',
    image="process:///x",
    format="http-stream",
    memory=128,
    idle_timeout=30,
    retired=False,
    waiting=2,
    calls=10,
    failures=1,
    launches=3,
    mean_run=0.1,
    mean_start=0.2,
    containers=tuple(
        ContainerStatistics(id=str(number), state=state, age=1, in_state=1, calls=1, pid=None, running=0, call_id="")
        for number, state in enumerate(("idle", "idle", "busy"))
    ),
)
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
async def management(tmp_path: Path) -> AsyncIterator[Management]:
    async with managing(tmp_path) as management:
        agent: Any = management.services.agent
        agent.pools = [POOL, attrs.evolve(POOL, retired=True, waiting=0, calls=5, containers=())]
        yield management


async def scrape(management: Management, accept: str = "text/plain;version=0.0.4") -> Samples:
    response = await management.client.get("/metrics", headers={"accept": accept})
    assert response.status_code == 200
    reading = parse_open_metrics if "openmetrics" in response.headers["content-type"] else parse
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in reading(response.text)
        for sample in family.samples
    }


def of(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


async def test_a_function_has_the_sum_of_its_pools(management: Management) -> None:
    samples = await scrape(management)
    function = {"app": "shop", "fn": 'ca"rt\n'}
    assert of(samples, "fnd_fn_calls_total", **function) == 15
    assert of(samples, "fnd_fn_failures_total", **function) == 2
    assert of(samples, "fnd_fn_launches_total", **function) == 6
    assert of(samples, "fnd_fn_calls_waiting", **function) == 2
    assert of(samples, "fnd_fn_containers", **function, state="idle") == 2
    assert of(samples, "fnd_fn_containers", **function, state="busy") == 1


async def test_the_daemon_tells_of_itself(management: Management) -> None:
    await management.ask("POST", "/v2/apps", {"name": "a"})
    samples = await scrape(management)
    assert of(samples, "fnd_memory_limit_bytes") == 1024 << 20
    assert of(samples, "fnd_memory_reserved_bytes") == 256 << 20
    assert of(samples, "fnd_cpu_limit_cores") == 2.0
    assert of(samples, "fnd_cpu_reserved_cores") == 0.5
    assert of(samples, "fnd_calls_total") == 30
    assert of(samples, "fnd_launches_total") == 4
    assert (of(samples, "fnd_calls_running"), of(samples, "fnd_calls_waiting")) == (1, 2)
    assert (of(samples, "fnd_apps"), of(samples, "fnd_fns"), of(samples, "fnd_triggers")) == (1, 0, 0)
    assert (of(samples, "fnd_state", state="ready"), of(samples, "fnd_state", state="stopping")) == (1, 0)
    assert of(samples, "process_resident_memory_bytes") > 0


async def test_a_store_that_fails_shows(management: Management) -> None:
    assert of(await scrape(management), "fnd_store_up") == 1
    path = management.store.path
    path.rename(path.with_name("away"))
    await management.ask("GET", "/v2/apps", status=503)
    assert of(await scrape(management), "fnd_store_up") == 0
    path.with_name("away").rename(path)


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text;version=1.0.0", "application/openmetrics-text; version=x\\", "*/*", ""]
)
async def test_both_formats_tell_the_same_to_whatever_asks(management: Management, accept: str) -> None:
    assert of(await scrape(management, accept), "fnd_calls_total") == 30


async def test_every_metric_is_in_the_documentation(management: Management) -> None:
    documented = set(re.findall(r"`(fnd_\w+)`", (Path(__file__).parents[3] / "docs" / "http-api.md").read_text()))
    families = {name for name, _ in await scrape(management) if name.startswith("fnd_")}
    assert families == documented
