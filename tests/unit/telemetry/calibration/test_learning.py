"""What past loads teach of each part of an engine's memory."""

from dataclasses import replace

import pytest

from oprel.telemetry.calibration.learning import (
    LEAST,
    MOST,
    Buffers,
    EstimatedLoad,
    PastLoad,
    ResidentMemory,
    corrections_of,
)
from oprel.telemetry.memory.corrections import NONE
from oprel.telemetry.memory.estimator import estimate
from oprel.telemetry.memory.load_shape import LoadShape
from tests.fixtures.known_models import known_header

BUFFERS = Buffers(weights=1000, kv=400, state=0, compute=200, output=10)
ESTIMATED = EstimatedLoad(buffers=BUFFERS, process=100, at_work=20, untouched=200, pool=300)
READY = 1000 + 400 + 10 + 80  # all that is there before the first request


def load(**resident: int) -> PastLoad:
    return PastLoad(setting="a", estimated=ESTIMATED, logged=BUFFERS, resident=ResidentMemory(**resident))  # type: ignore[arg-type]


def logged(part: str, ratio: float) -> PastLoad:
    return replace(load(), logged=replace(BUFFERS, **{part: round(getattr(BUFFERS, part) * ratio)}))


def test_without_loads_nothing_is_corrected() -> None:
    assert corrections_of([], []) is NONE


@pytest.mark.parametrize("part", ["weights", "kv", "compute", "output"])
def test_each_part_is_corrected_by_the_median_of_its_own(part: str) -> None:
    corrections = corrections_of([logged(part, ratio) for ratio in (1.5, 1.2, 0.9)], [])
    others = {"weights", "kv", "state", "compute", "output", "process"} - {part}
    assert getattr(corrections, part) == pytest.approx(1.2)
    assert all(getattr(corrections, other) == 1.0 for other in others)


@pytest.mark.parametrize(("ratio", "used"), [(0.01, LEAST), (50.0, MOST)])
def test_what_cannot_be_right_is_bounded(ratio: float, used: float) -> None:
    assert corrections_of([logged("weights", ratio)], []).weights == used


def test_a_models_own_loads_count_before_those_of_its_architecture() -> None:
    own, other = logged("kv", 1.1), logged("kv", 0.8)
    assert corrections_of([own], [other]).kv == pytest.approx(1.1)
    borrowed = corrections_of([], [other])
    assert borrowed.kv == pytest.approx(0.8) and not borrowed.is_of_model and not borrowed.peaks


@pytest.mark.parametrize(
    ("resident", "process"),
    [
        ({}, None),  # nothing was measured
        ({"ready": READY}, 100),  # the program and the tokenizer are as estimated
        ({"ready": READY + 30}, 130),
        ({"ready": READY - 30}, 70),
        ({"ready": READY, "peak": READY + 10}, 100),  # it hardly worked: its low peak says nothing
        ({"ready": READY, "peak": READY + 10, "was_busy": True}, 90),  # every slot worked, and no more was needed
        ({"ready": READY, "peak": 1610 + 300 + 150}, 150),  # more than buffers and conversations explain
        ({"ready": READY, "peak": 1610 + 300 + 150, "was_busy": True}, 150),
    ],
)
def test_the_process_is_what_the_buffers_do_not_explain(resident: dict[str, int], process: int | None) -> None:
    assert load(**resident).process == process


def test_what_lies_on_gpus_is_not_in_the_machines_memory() -> None:
    on_gpu = replace(BUFFERS, on_gpus=1400)
    past = PastLoad(setting="a", estimated=ESTIMATED, logged=on_gpu, resident=ResidentMemory(ready=10 + 500))
    assert past.process == 520


def test_the_error_is_that_of_the_corrected_total() -> None:
    loads = [load(ready=READY + more) for more in (0, 10, 20)]
    corrections = corrections_of(loads, [])
    assert corrections.loads == 3 and corrections.process == pytest.approx(1.1)
    assert corrections.error == pytest.approx(10 / 1710)


def test_the_highest_peak_of_each_setting_is_kept_without_conversations() -> None:
    loads = [load(peak=2000), load(peak=2300), replace(load(peak=1900), setting="b"), replace(load(), setting="c")]
    assert dict(corrections_of(loads, []).peaks) == {"a": 2000, "b": 1600}


def test_a_peak_that_cannot_be_right_is_bounded() -> None:
    assert dict(corrections_of([load(peak=10**12)], []).peaks) == {"a": 2 * 1710}


def test_an_estimate_is_corrected_part_by_part() -> None:
    plain = estimate(known_header("qwen2.5-0.5b"), LoadShape(context=4096))
    more = plain.corrected(replace(NONE, compute=1.5, process=2.0))
    assert more.compute_bytes == pytest.approx(1.5 * plain.compute_bytes, abs=2)
    assert more.process.total == 2 * plain.process.total
    assert (more.weights_bytes, more.kv_bytes) == (plain.weights_bytes, plain.kv_bytes)
