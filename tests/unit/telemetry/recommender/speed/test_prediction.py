"""Tokens per second, computed from what a token reads, multiplies and waits for."""

from dataclasses import replace
from pathlib import Path

import pytest

from oprel.formats.gguf import read_gguf
from oprel.telemetry.hardware.devices import GPU
from oprel.telemetry.memory.corrections import Corrections
from oprel.telemetry.memory.estimator import footprint_of
from oprel.telemetry.recommender.budgets import Budgets, core_speed
from oprel.telemetry.recommender.candidates import Candidate
from oprel.telemetry.recommender.placement import Placement, PlacementKind, Solution, placed, settings_for
from oprel.telemetry.recommender.planning import plan
from oprel.telemetry.recommender.settings import PlanConstraints
from oprel.telemetry.recommender.speed.arithmetic import arithmetic_of, arithmetic_of_label
from oprel.telemetry.recommender.speed.prediction import GPU_SHARE, MEMORY_SHARE, is_guess, tokens_per_second
from tests.fixtures.gguf_parts import write_projector
from tests.fixtures.known_models import known_header

GB = 10**9
GPU_100 = GPU(vendor="nvidia", name="GPU", total_bytes=80 * GB, free_bytes=80 * GB, bandwidth_bytes=100 * GB)
CPU_50 = Budgets(host=640 * GB, host_bandwidth=50 * GB, cores=8)
ON_CPU = Placement(kind=PlacementKind.CPU)
ON_GPU = Placement(kind=PlacementKind.GPU, devices=(0,), split=(1.0,), gpu_layers=200)


def candidate(model: str, label: str = "Q8_0", bits: float = 8.5) -> Candidate:
    header = known_header(model)
    parameters = header.parameter_count
    footprint = footprint_of(header).resized(round(parameters * bits / 8), label)
    return Candidate(label=label, footprint=footprint, parameters=parameters)


def solution(model: Candidate, placement: Placement = ON_CPU, context: int = 8192) -> Solution:
    setting = settings_for(model.placement_input, PlanConstraints(context=context, slots=1))[0]
    return placed(model.placement_input, setting, placement)


def speed(model: Candidate, budgets: Budgets, filled: int = 0, placement: Placement = ON_CPU) -> float:
    found = tokens_per_second(model, solution(model, placement), budgets, filled)
    assert found
    return found


def test_many_threads_read_a_large_model_as_fast_as_memory_allows() -> None:
    model = candidate("llama3.1-70b")
    weights = model.footprint.weights
    read = weights.total - weights.input
    assert speed(model, replace(CPU_50, cores=32)) == pytest.approx(MEMORY_SHARE * 50 * GB / read, rel=0.1)


def test_a_single_thread_is_bound_by_arithmetic() -> None:
    fast_memory = replace(CPU_50, host_bandwidth=5000 * GB, core_speed=2.0, cores=1)
    fast, slow = candidate("llama3.1-8b", "Q4_K_M", 4.894), candidate("llama3.1-8b", "IQ3_S", 3.661)
    assert speed(fast, fast_memory) > 2 * speed(slow, fast_memory)  # although it is the larger one
    assert speed(fast, replace(fast_memory, core_speed=1.0)) == pytest.approx(speed(fast, fast_memory) / 2, rel=0.15)
    assert speed(fast, replace(fast_memory, cores=2)) > 1.5 * speed(fast, fast_memory)


def test_four_bits_are_much_faster_than_eight() -> None:
    four, eight = candidate("llama3.1-8b", "Q4_K_M", 4.894), candidate("llama3.1-8b")
    for threads in (1, 8, 64):
        budgets = replace(CPU_50, cores=threads)
        assert 1.4 < speed(four, budgets) / speed(eight, budgets) < 1.8


def test_barriers_and_the_vocabulary_bound_small_models() -> None:
    instant = replace(CPU_50, host_bandwidth=10**18, cores=64, core_speed=1.0)
    assert speed(candidate("llama3.2-1b"), instant) < 250


def test_a_full_context_is_slower_except_for_a_recurrent_model() -> None:
    attends, recurs = candidate("llama3.1-8b"), candidate("mamba-2.8b")
    assert speed(attends, CPU_50, filled=8000) < 0.8 * speed(attends, CPU_50)
    assert speed(recurs, CPU_50, filled=8000) == speed(recurs, CPU_50)
    assert speed(attends, CPU_50, filled=100_000) == speed(attends, CPU_50, filled=8192), "no more than the context"


def test_a_window_bounds_what_is_read() -> None:
    windowed, whole = candidate("gemma3-4b"), candidate("llama3.2-1b")
    slower = [speed(model, CPU_50, filled=8000) / speed(model, CPU_50) for model in (windowed, whole)]
    assert slower[0] > slower[1]


def test_unused_experts_are_not_read() -> None:
    dense, sparse = candidate("qwen3-32b"), candidate("qwen3-30b-a3b")
    assert speed(sparse, CPU_50) > 4 * speed(dense, CPU_50)


def test_layers_for_speculation_are_not_read() -> None:
    model = candidate("llama3.1-8b")
    dims = model.footprint.dims
    fewer = replace(model.footprint, dims=replace(dims, layers=dims.layers[:24]))
    assert speed(replace(model, footprint=fewer), CPU_50) > 1.2 * speed(model, CPU_50)


def test_a_gpu_reaches_a_part_of_its_bandwidth() -> None:
    budgets = replace(CPU_50, gpus=(GPU_100,), devices=(70 * GB,))
    model = candidate("llama3.1-8b")
    weights = model.footprint.weights
    most = GPU_SHARE * 100 * GB / (weights.total - weights.input)
    assert 0.8 * most < speed(model, budgets, placement=ON_GPU) < most


def test_starting_kernels_bounds_models_that_read_little() -> None:
    instant = replace(GPU_100, bandwidth_bytes=10**18)
    budgets = replace(CPU_50, gpus=(instant,), devices=(70 * GB,))
    assert speed(candidate("gpt-oss-20b"), budgets, placement=ON_GPU) < 500


def test_the_speed_of_an_unknown_gpu_is_unknown() -> None:
    model = candidate("llama3.1-8b")
    blind = replace(CPU_50, gpus=(replace(GPU_100, bandwidth_bytes=None),), devices=(70 * GB,))
    assert tokens_per_second(model, solution(model, ON_GPU), blind) is None
    assert tokens_per_second(model, solution(model, ON_GPU), replace(blind, shared=True)), "it reads the machine's"


def test_a_bandwidth_that_was_not_measured_is_guessed() -> None:
    model = candidate("llama3.1-8b")
    unmeasured = replace(CPU_50, host_bandwidth=None)
    assert is_guess(solution(model), unmeasured) and not is_guess(solution(model), CPU_50)
    assert not is_guess(solution(model, ON_GPU), replace(unmeasured, gpus=(GPU_100,), devices=(70 * GB,)))
    guesses = [speed(model, replace(unmeasured, cores=threads)) for threads in (1, 2, 4, 16)]
    assert guesses == sorted(guesses) and guesses[-1] < speed(model, replace(CPU_50, cores=16))


def test_a_file_that_generates_no_tokens_is_planned_without_a_speed(tmp_path: Path) -> None:
    header = read_gguf(write_projector(tmp_path / "mmproj.gguf"))
    projector = Candidate(label="F32", footprint=footprint_of(header), parameters=header.parameter_count)
    assert plan([projector], CPU_50).chosen.speed is None


def test_weights_that_took_next_to_nothing_before_are_read_in_no_time() -> None:
    model = candidate("llama3.1-8b")  # its input and its output are more than a tenth of it
    speeds = [speed(replace(model, corrections=Corrections(weights=share)), CPU_50) for share in (1.0, 0.1, 0.001)]
    assert speeds == sorted(speeds)


def test_arithmetic_is_that_of_the_tensors_or_usual_for_the_label() -> None:
    q8 = arithmetic_of_label("Q8_0").layers
    assert arithmetic_of(known_header("llama3.1-8b")).output > 0
    assert arithmetic_of_label("UD-Q8_0").layers == q8 != arithmetic_of_label("IQ3_XXS").layers
    assert arithmetic_of_label("Q4_K_M") == arithmetic_of_label("Q4_K_S")
    assert arithmetic_of_label("MXFP4_MOE") != arithmetic_of_label("unknown")


def test_a_scan_says_how_fast_a_core_is_within_bounds() -> None:
    assert core_speed(None) == 1.0 and core_speed(45 * GB) == 1.0
    assert core_speed(1) == 0.5 and core_speed(10**15) == 2.0
