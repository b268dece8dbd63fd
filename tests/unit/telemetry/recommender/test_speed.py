"""Tokens per second, computed from the bytes read for each token."""

from dataclasses import replace

import pytest

from oprel.telemetry.hardware import bandwidth
from oprel.telemetry.hardware.devices import CPU, GPU, Memory
from oprel.telemetry.hardware.probing import Hardware
from oprel.telemetry.memory.estimator import estimate, footprint_of
from oprel.telemetry.memory.load_shape import LoadShape
from oprel.telemetry.recommender.budgets import Budgets
from oprel.telemetry.recommender.speed import FASTEST, GPU_SHARE, tokens_per_second
from tests.fixtures.known_models import known_header

GB = 10**9
GPU_100 = GPU(vendor="nvidia", name="GPU", total_bytes=80 * GB, free_bytes=80 * GB, bandwidth_bytes=100 * GB)


def speed(model: str, shape: LoadShape, devices: tuple[int, ...], budgets: Budgets) -> float | None:
    footprint = footprint_of(known_header(model))
    return tokens_per_second(footprint, estimate(footprint, shape), devices, budgets)


def test_from_the_cpu_every_weight_but_the_embedding_is_read_for_each_token() -> None:
    weights = footprint_of(known_header("llama3.1-8b")).weights
    found = speed("llama3.1-8b", LoadShape(context=4096), (), Budgets(host=64 * GB, host_bandwidth=50 * GB))
    assert found == pytest.approx(50 * GB / (weights.total - weights.input))


def test_a_gpu_reaches_a_part_of_what_its_memory_could() -> None:
    shape = LoadShape(context=4096, split=(1.0,))
    weights = footprint_of(known_header("llama3.1-8b")).weights
    found = speed("llama3.1-8b", shape, (0,), Budgets(host=64 * GB, gpus=(GPU_100,), devices=(70 * GB,)))
    assert found == pytest.approx(GPU_SHARE * 100 * GB / (weights.total - weights.input))


def test_a_tiny_model_is_not_as_fast_as_memory_would_let_it_be() -> None:
    assert speed("llama3.2-1b", LoadShape(context=4096), (), Budgets(host=64 * GB, host_bandwidth=9000 * GB)) == FASTEST


def test_experts_that_are_not_asked_are_not_read() -> None:
    budgets = Budgets(host=640 * GB, host_bandwidth=50 * GB)
    dense, sparse = (speed(name, LoadShape(context=4096), (), budgets) for name in ("qwen3-32b", "qwen3-30b-a3b"))
    assert dense and sparse and sparse > 5 * dense


def test_where_a_bandwidth_is_not_known_nothing_is_claimed() -> None:
    assert speed("llama3.1-8b", LoadShape(context=4096), (), Budgets(host=64 * GB)) is None
    blind = replace(GPU_100, bandwidth_bytes=None)
    assert (
        speed("llama3.1-8b", LoadShape(split=(1.0,)), (0,), Budgets(host=64 * GB, gpus=(blind,), devices=(70 * GB,)))
        is None
    )


def test_a_gpu_without_memory_of_its_own_reads_the_machines() -> None:
    shared = replace(GPU_100, bandwidth_bytes=None, integrated=True)
    budgets = Budgets(host=64 * GB, gpus=(shared,), devices=(60 * GB,), shared=True, host_bandwidth=50 * GB)
    assert speed("llama3.1-8b", LoadShape(context=4096, split=(1.0,)), (0,), budgets) is not None


def test_what_was_measured_is_known_the_next_time_on_this_machine_only(tmp_path) -> None:
    here = Hardware(CPU(name="one", physical_cores=4, logical_cores=8), Memory(total_bytes=GB, available_bytes=GB))
    measured = bandwidth.measure(threads=1, seconds=0.02, block=1024**2)
    assert measured > GB // 10
    bandwidth.remember(tmp_path, here, measured)
    assert bandwidth.recall(tmp_path, here).memory.bandwidth_bytes == measured
    other = replace(here, cpu=CPU(name="another", physical_cores=4, logical_cores=8))
    assert bandwidth.recall(tmp_path, other) == other


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"one, 4 threads, x86_64": "fast"}'])
def test_a_damaged_record_is_as_good_as_none(tmp_path, content: bytes) -> None:
    (tmp_path / bandwidth.FILE).write_bytes(content)
    here = Hardware(CPU(name="one", physical_cores=4, logical_cores=8), Memory(total_bytes=GB, available_bytes=GB))
    assert bandwidth.recall(tmp_path, here) == here
