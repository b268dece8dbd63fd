"""The daemon's metrics in Prometheus' text format: counters, and gauges of the present state.

Imported only when they are requested: importing prometheus_client takes 55 ms.
"""

import collections
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from oprel import __version__
from oprel.runtime.engine import EngineState
from oprel.server.history.metrics import Counter, Histogram, Metrics
from oprel.server.pool.engine_status import EngineStatus
from oprel.server.pool.manager import ModelManager

PREFIX = "oprel_"
OF_A_MODEL = ("model", "mode")


def exposition(manager: ModelManager, uptime: float) -> bytes:
    """`uptime` in seconds."""
    registry = CollectorRegistry()
    registry.register(_MetricsCollector(manager, uptime))
    return generate_latest(registry)


class _MetricsCollector(Collector):
    def __init__(self, manager: ModelManager, uptime: float) -> None:
        self._manager = manager
        self._uptime = uptime

    def collect(self) -> Iterator[Metric]:
        manager = self._manager
        yield from map(_counter, manager.metrics.counters)
        yield from map(_histogram, manager.metrics.histograms)
        yield InfoMetricFamily(f"{PREFIX}build", "This daemon", {"version": __version__})
        yield _gauge("uptime_seconds", "Time since the daemon's start", self._uptime)
        yield _gauge("memory_budget_bytes", "Memory that all engines together may use", manager.admission.budget.total)
        yield _gauge("models_waiting", "Models waiting for memory", len(manager.admission.waiting))
        statuses = manager.statuses()
        yield _engines(statuses)
        yield from _of_models(statuses, manager.metrics)


def _counter(counter: Counter) -> Metric:
    family = CounterMetricFamily(PREFIX + counter.name, counter.help, labels=counter.labels)
    for labels, count in counter.values.items():
        family.add_metric(labels, count)
    return family


def _histogram(histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(PREFIX + histogram.name, histogram.help, labels=["model"])
    bounds = [*map(str, histogram.bounds), "+Inf"]
    for model, observed in histogram.models.items():
        family.add_metric([model], list(zip(bounds, accumulate(observed.counts), strict=True)), observed.sum)
    return family


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, help, value)


def _engines(statuses: Sequence[EngineStatus]) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}engines", "Engines by state", labels=["state"])
    counts = collections.Counter(status.snapshot.state for status in statuses)
    for state in EngineState:
        family.add_metric([state.value], counts[state])
    return family


def _of_models(statuses: Sequence[EngineStatus], metrics: Metrics) -> Iterator[Metric]:
    gauges = {
        "requests_in_flight": ("Requests that an engine is answering", [status.slots_taken for status in statuses]),
        "requests_queued": ("Requests waiting for a slot", [status.queued for status in statuses]),
        "slots": ("Requests that an engine can answer at the same time", [status.slots for status in statuses]),
        "engine_memory_expected_bytes": (
            "Memory that an engine is expected to use with every slot busy",
            [status.expected_bytes for status in statuses],
        ),
        "engine_memory_reserved_bytes": (
            "Memory that is reserved for an engine, with saved conversations at their bound",
            [status.reserved_bytes for status in statuses],
        ),
        "engine_memory_predicted_bytes": (
            "The former name of engine_memory_reserved_bytes",
            [status.reserved_bytes for status in statuses],
        ),
        "engine_memory_bytes": (
            "Memory that an engine's processes use now, as measured, without that of GPUs",
            [status.snapshot.memory_bytes for status in statuses],
        ),
    }
    owners = [(metrics.label(status.model.name), status.spec.mode.value) for status in statuses]
    for name, (help, values) in gauges.items():
        family = GaugeMetricFamily(PREFIX + name, help, labels=OF_A_MODEL)
        sums = collections.Counter[tuple[str, str]]()  # of an engine, and of the one it replaces
        for owner, value in zip(owners, values, strict=True):
            sums[owner] += value
        for owner, total in sums.items():
            family.add_metric(owner, total)
        yield family
