"""The process of an engine, and weights that lie in memory twice."""

from dataclasses import replace

import pytest

from oprel.telemetry.memory.estimator import MIB, estimate, footprint_of
from oprel.telemetry.memory.load_shape import LoadShape
from oprel.telemetry.memory.process import NATIVE, WHEEL, for_features
from tests.fixtures.known_models import known_header
from tests.fixtures.random_models import random_header

SHAPE = LoadShape(context=2048)


@pytest.mark.parametrize(
    ("features", "repacks_q8", "repacks_q4"),
    [
        (["sse4_2", "avx", "avx2"], False, True),
        (["asimd", "asimddp", "i8mm"], True, True),
        (["sse4_2", "avx"], False, False),
        ([], False, True),
    ],
    ids=["x86", "ARM", "old", "unknown"],
)
def test_what_is_repacked_depends_on_the_cpu(features: list[str], repacks_q8: bool, repacks_q4: bool) -> None:
    program = for_features(WHEEL, features)
    assert ("Q8_0" in program.repacks, "Q4_0" in program.repacks) == (repacks_q8, repacks_q4)


def test_weights_that_are_mostly_repacked_are_read_instead_of_mapped() -> None:
    mostly, hardly = random_header("mixtral"), random_header("gemma3")
    read, mapped = estimate(mostly, SHAPE), estimate(hardly, SHAPE)
    assert (read.maps, read.repacked_bytes) == (False, 0)
    assert mapped.maps and mapped.repacked_bytes < 0.1 * mapped.weights_bytes


def test_a_requested_mapping_counts_both_copies() -> None:
    asked = estimate(random_header("mixtral"), replace(SHAPE, mmap=True))
    assert asked.maps and asked.repacked_bytes > asked.weights_bytes / 2


def test_weights_on_a_gpu_are_not_repacked() -> None:
    found = estimate(random_header("mixtral"), replace(SHAPE, split=(1,)))
    assert found.maps and found.repacked_bytes == 0


def test_of_a_quantization_that_is_only_known_by_name_the_usual_mix_counts() -> None:
    header = known_header("llama3.1-8b")
    whole = footprint_of(header)
    for label in "Q4_K_M", "UD-Q4_K_M", "Q4_K_L", "UD-Q4_K_XL", "Q4_0":
        assert not estimate(whole.resized(5 * 10**9, label), SHAPE).maps, label
    assert estimate(whole.resized(8 * 10**9, "Q8_0"), SHAPE).maps


def test_a_larger_vocabulary_and_more_slots_take_more() -> None:
    small, large = (estimate(random_header(name), SHAPE).process for name in ("llama", "gemma3"))
    assert large.tokenizer - small.tokenizer > 45 * MIB
    many = estimate(random_header("gemma3"), replace(SHAPE, slots=4, unified=True)).process
    assert many.outputs == 4 * large.outputs


def test_pythons_engine_takes_more_than_llama_server() -> None:
    header = random_header("llama")
    assert estimate(header, SHAPE, WHEEL).process.total > estimate(header, SHAPE, NATIVE).process.total + 10 * MIB


def test_a_correction_makes_no_part_negative() -> None:
    process = estimate(random_header("gemma3"), SHAPE).process
    halved = process.corrected(0.5)
    assert min(vars(halved).values()) >= 0 and halved.total == pytest.approx(process.total / 2, abs=5)
