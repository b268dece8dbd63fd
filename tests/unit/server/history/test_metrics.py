"""Counting, and what Prometheus reads of it."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from oprel.core.config import Config
from oprel.runtime.binaries.engine_binaries import EngineBinaries
from oprel.server.api.oprel.monitoring.prometheus import exposition
from oprel.server.history.metrics import GAPS, MOST_LABELS, Metrics, Observed
from oprel.server.pool.manager import ModelManager


@pytest.fixture
def manager(tmp_path: Path) -> ModelManager:
    return ModelManager(Config(home=str(tmp_path)), EngineBinaries([]), tmp_path)


@pytest.fixture
def metrics(manager: ModelManager) -> Metrics:
    return manager.metrics


def samples(manager: ModelManager) -> Mapping[tuple[str, ...], float]:
    """What Prometheus's own parser finds: value by name and label values."""
    text = exposition(manager, uptime=12.5).decode()
    return {
        (sample.name, *(f"{key}={value}" for key, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_request_is_counted_with_its_waits(manager: ModelManager, metrics: Metrics) -> None:
    metrics.request("tiny", "ok", queued=0.02, first_token=0.3)
    metrics.request("tiny", "client_left", queued=0.0)
    found = samples(manager)
    assert found["oprel_requests_total", "model=tiny", "outcome=ok"] == 1
    assert found["oprel_requests_total", "model=tiny", "outcome=client_left"] == 1
    assert found["oprel_queue_seconds_count", "model=tiny"] == 2
    assert found["oprel_first_token_seconds_count", "model=tiny"] == 1
    assert found["oprel_first_token_seconds_sum", "model=tiny"] == 0.3
    assert found["oprel_first_token_seconds_bucket", "le=0.25", "model=tiny"] == 0
    assert found["oprel_first_token_seconds_bucket", "le=0.5", "model=tiny"] == 1
    assert found["oprel_first_token_seconds_bucket", "le=+Inf", "model=tiny"] == 1


def test_buckets_hold_what_is_not_longer_than_their_bound() -> None:
    observed = Observed(GAPS)
    for seconds in (0.0, 0.001, 0.0011, 7.0):
        observed.add(seconds)
    assert (observed.counts[0], observed.counts[1], observed.counts[-1]) == (2, 1, 1)
    assert len(observed.counts) == len(GAPS) + 1


def test_all_that_happens_to_engines_is_counted(manager: ModelManager, metrics: Metrics) -> None:
    metrics.gaps("tiny", 0.03)
    metrics.tokens("tiny", prompt=10, generated=5)
    metrics.loaded("tiny", 2.0)
    metrics.loaded("tiny", 1.0, "file_corrupt")
    metrics.restart("tiny", "crash_signal")
    metrics.recovery("tiny", 0.7)
    metrics.recovery("tiny", 0.0, "backend_crashed")
    metrics.eviction("tiny", "memory")
    metrics.refused("tiny")
    metrics.quarantined("tiny")
    found = samples(manager)
    assert found["oprel_inter_token_seconds_count", "model=tiny"] == 1
    assert found["oprel_prompt_tokens_total", "model=tiny"] == 10
    assert found["oprel_generated_tokens_total", "model=tiny"] == 5
    assert found["oprel_loads_total", "model=tiny", "outcome=ready"] == 1
    assert found["oprel_loads_total", "model=tiny", "outcome=file_corrupt"] == 1
    assert found["oprel_load_seconds_sum", "model=tiny"] == 2.0
    assert found["oprel_restarts_total", "model=tiny", "reason=crash_signal"] == 1
    assert found["oprel_recoveries_total", "model=tiny", "outcome=ok"] == 1
    assert found["oprel_recovery_seconds_count", "model=tiny"] == 1
    assert found["oprel_evictions_total", "model=tiny", "reason=memory"] == 1
    assert found["oprel_refused_total", "model=tiny"] == 1
    assert found["oprel_quarantined_total", "model=tiny"] == 1


def test_how_things_stand_is_told_besides(manager: ModelManager) -> None:
    found = samples(manager)
    assert found["oprel_uptime_seconds",] == 12.5
    assert found["oprel_memory_budget_bytes",] == manager.admission.budget.total
    assert found["oprel_models_waiting",] == 0
    assert found["oprel_engines", "state=ready"] == 0


@pytest.mark.parametrize("name", ['a "quoted" one', "back\\slash", "two\nlines", "größe"])
def test_any_name_of_a_model_can_be_read_back(manager: ModelManager, metrics: Metrics, name: str) -> None:
    metrics.refused(name)
    assert samples(manager)["oprel_refused_total", f"model={name}"] == 1


def test_models_beyond_a_number_count_together(manager: ModelManager, metrics: Metrics) -> None:
    for number in range(MOST_LABELS + 3):
        metrics.refused(f"model {number}")
    metrics.refused("model 0")
    found = samples(manager)
    assert found["oprel_refused_total", "model=other"] == 3
    assert found["oprel_refused_total", "model=model 0"] == 2


def test_every_figure_says_what_it_is(manager: ModelManager) -> None:
    families = list(text_string_to_metric_families(exposition(manager, 1.0).decode()))
    assert all(family.name.startswith("oprel_") and family.documentation for family in families)
    assert {family.type for family in families} == {"counter", "histogram", "gauge"}


def test_counting_alone_needs_no_library() -> None:
    program = "import sys, oprel.server.app; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, check=True)
    assert done.stdout == b"False\n"
