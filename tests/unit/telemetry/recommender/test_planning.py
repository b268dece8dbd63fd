"""Plans for models and machines: a table reviewed by hand, and properties that always hold."""

import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oprel.core.variants import bits_per_weight
from oprel.telemetry.hardware.devices import CPU, GPU, Memory
from oprel.telemetry.hardware.probing import Hardware
from oprel.telemetry.memory.estimator import footprint_of
from oprel.telemetry.recommender.budgets import Budgets, Reservation, budgets_of
from oprel.telemetry.recommender.candidates import Candidate, Grade, grade_of
from oprel.telemetry.recommender.placement import PlacementKind
from oprel.telemetry.recommender.planning import Plan, _preference, plan, plan_among
from oprel.telemetry.recommender.reasons import placement_text
from oprel.telemetry.recommender.settings import SHORT_CONTEXT, USUAL_CONTEXT, PlanConstraints
from tests.fixtures.known_models import DATA, known_header

GIB = 1024**3
MACHINES = sorted(path.stem for path in (DATA / "machines").glob("*.json"))
MODELS = (
    *("llama3.2-1b", "mamba-2.8b", "gemma3-4b", "mistral-7b-v0.3", "llama3.1-8b", "qwen3-8b"),
    *("gpt-oss-20b", "gemma3-27b", "qwen3-30b-a3b", "qwen3-32b", "llama3.1-70b", "deepseek-v3"),
)
# The quantizations of a typical repository.
USUAL = ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_K_S", "IQ4_XS", "Q3_K_L", "Q3_K_M", "IQ3_M", "Q2_K", "IQ2_M")
TABLE = DATA / "plans.txt"
UPDATE = bool(os.environ.get("OPREL_UPDATE_SNAPSHOTS"))


@cache
def machine(name: str) -> Hardware:
    return Hardware.load(DATA / "machines" / f"{name}.json")


@cache
def repository(name: str) -> tuple[Candidate, ...]:
    """The variants of a model at their usual sizes; gpt-oss only in the format it was trained in."""
    header = known_header(name)
    parameters, whole = header.parameter_count, footprint_of(header)
    if name.startswith("gpt-oss"):
        return (Candidate(label="MXFP4_MOE", footprint=whole, parameters=parameters),)
    sizes = {label: round(parameters * (bits_per_weight(label) or 0) / 8 * 1.02) for label in USUAL}
    return tuple(
        Candidate(label=label, footprint=whole.resized(size), parameters=parameters) for label, size in sizes.items()
    )


def one(name: str, label: str) -> tuple[Candidate, ...]:
    return tuple(candidate for candidate in repository(name) if candidate.label == label)


def line(model: str, hardware: str, found: Plan) -> str:
    if not found.fits:
        return f"{model:16} {hardware:20} does not fit: {found.refusal}; {' '.join(found.advice)}"
    solution, setting = found.solution, found.solution.setting
    context = f"{setting.context} x {setting.slots} {setting.key_type}"
    size, speed = f"{solution.total / GIB:.1f} GiB", f"{found.chosen.speed:.0f}/s" if found.chosen.speed else "-"
    where = placement_text(found.chosen)
    return f"{model:16} {hardware:20} {found.chosen.candidate.label:9} {context:16} {size:>9} {speed:>6} {where}"


def test_the_plans_of_twelve_machines_and_twelve_models_are_those_that_were_reviewed() -> None:
    """`OPREL_UPDATE_SNAPSHOTS=1` rewrites the table: review the difference."""
    told = [
        line(model, name, plan(repository(model), budgets_of(machine(name)))) for model in MODELS for name in MACHINES
    ]
    if UPDATE:
        TABLE.write_text("\n".join(told) + "\n")
    assert told == TABLE.read_text().splitlines()


sizes = st.floats(0.5, 400.0).map(lambda gib: round(gib * GIB))
models = st.sampled_from([name for name in MODELS if name != "deepseek-v3"])
asks = st.builds(
    PlanConstraints,
    context=st.none() | st.sampled_from([512, 4096, 32_768]),
    slots=st.none() | st.integers(1, 8),
    key_type=st.none() | st.sampled_from(["f16", "q8_0"]),
    value_type=st.none(),
    flash_attention=st.none() | st.just(True),
    layers_on_gpu=st.none() | st.integers(0, 60),
)


def budgets(host: int, *devices: int, shared: bool = False) -> Budgets:
    gpus = tuple(
        GPU(vendor="nvidia", name="GPU", total_bytes=size, free_bytes=size, index=index)
        for index, size in enumerate(devices)
    )
    return Budgets(host=host, gpus=gpus, devices=devices, shared=shared)


@settings(max_examples=80, deadline=None)
@given(models, asks, sizes, st.lists(sizes, max_size=2), st.booleans())
def test_a_plan_never_takes_more_than_there_is(
    model: str, asked: PlanConstraints, host: int, devices: list[int], shared: bool
) -> None:
    room = budgets(host, *devices[:1], shared=True) if shared and devices else budgets(host, *devices)
    for row in plan(repository(model), room, asked).rows:
        if row.fits:
            solution = row.solution
            for device, needs in zip(solution.placement.devices, solution.needs, strict=True):
                assert needs <= room.devices[device]
            assert solution.host_needs <= room.host
            assert not room.shared or solution.total <= room.host


@settings(max_examples=80, deadline=None)
@given(models, asks, sizes, st.none() | sizes, sizes, st.booleans())
def test_more_memory_is_never_a_worse_plan(
    model: str, asked: PlanConstraints, host: int, device: int | None, more: int, on_gpu: bool
) -> None:
    few = budgets(host, *([device] if device else []))
    many = budgets(host, device + more) if device and on_gpu else budgets(host + more, *few.devices)
    before, after = plan(repository(model), few, asked), plan(repository(model), many, asked)
    assert after.fits or not before.fits
    if not before.fits:
        return

    def rank(found: Plan) -> tuple[int, int, int, float]:
        return _preference(found.chosen, repository(model), many)

    assert rank(after) <= rank(before)
    if rank(after) == rank(before) and after.chosen.candidate is before.chosen.candidate:
        assert after.solution.setting.cells >= before.solution.setting.cells


@settings(max_examples=80, deadline=None)
@given(models, asks, sizes, st.lists(sizes, max_size=2))
def test_what_is_asked_is_kept_or_refused_with_a_reason(
    model: str, asked: PlanConstraints, host: int, devices: list[int]
) -> None:
    found = plan(repository(model), budgets(host, *devices), asked)
    setting, placement = found.solution.setting, found.solution.placement
    if not found.fits:
        assert found.refusal and found.advice
    assert asked.context in (None, setting.context)
    assert asked.slots in (None, setting.slots)
    assert asked.key_type in (None, setting.key_type)
    if found.fits and devices and asked.layers_on_gpu is not None:
        assert placement.gpu_layers == asked.layers_on_gpu


def test_every_variant_but_the_chosen_one_has_its_reason() -> None:
    found = plan(repository("llama3.1-8b"), budgets_of(machine("nvidia-12gb")))
    reasons = {row.candidate.label: row.why for row in found.rows}
    assert found.chosen.candidate.label == "Q6_K" and not reasons.pop("Q6_K")
    assert all(reasons.values())
    assert "needs" in plan(repository("llama3.1-8b"), budgets_of(machine("cpu-8gb"))).rows[0].why


def test_fewer_bits_than_a_model_of_its_size_bears_are_the_last_choice() -> None:
    small, large = one("llama3.2-1b", "IQ3_M")[0], one("llama3.1-70b", "IQ3_M")[0]
    assert (grade_of(small), grade_of(large)) == (Grade.POOR, Grade.LESSER)
    assert grade_of(one("llama3.1-8b", "Q3_K_L")[0]) is Grade.LESSER
    assert grade_of(one("llama3.1-8b", "IQ4_XS")[0]) is Grade.GOOD


def test_a_model_that_cannot_fit_is_told_what_would() -> None:
    too_long = plan(one("llama3.1-8b", "Q4_K_M"), budgets(8 * GIB), PlanConstraints(context=131_072))
    assert not too_long.fits and "with the requested context of 131072 tokens" in too_long.refusal
    assert "It fits with a context of" in too_long.advice[0]
    too_large = plan(one("llama3.1-8b", "F16"), budgets(8 * GIB))
    assert too_large.advice == ("Its Q6_K would fit.",)
    assert plan(one("llama3.1-70b", "Q4_K_M"), budgets(8 * GIB)).advice == ("Use a smaller model.",)


def test_a_cache_that_engines_refuse_is_refused_before() -> None:
    asked = PlanConstraints(key_type="q8_0", value_type="q8_0", flash_attention=False)
    found = plan(one("llama3.1-8b", "Q4_K_M"), budgets(64 * GIB), asked)
    assert found.is_contradictory and "need flash attention" in found.refusal


def test_few_layers_on_a_gpu_are_not_worth_it() -> None:
    found = plan(one("llama3.1-70b", "Q4_K_M"), budgets(64 * GIB, 2 * GIB))
    assert found.solution.placement.kind is PlacementKind.CPU


def test_a_small_model_stays_on_one_of_two_gpus_and_a_large_one_takes_both() -> None:
    room = budgets_of(machine("nvidia-2x24gb"))
    small, large = plan(repository("llama3.1-8b"), room), plan(repository("llama3.1-70b"), room)
    assert (len(small.solution.placement.devices), len(large.solution.placement.devices)) == (1, 2)


def test_without_room_for_plenty_nothing_beyond_the_usual_is_taken() -> None:
    room = budgets_of(machine("nvidia-80gb"))
    ample = plan(repository("llama3.1-8b"), room).solution.setting
    usual = plan(repository("llama3.1-8b"), room, PlanConstraints(ample=False)).solution.setting
    assert ample.context > usual.context == USUAL_CONTEXT


def test_a_model_that_makes_vectors_reads_a_whole_text_at_once() -> None:
    header = known_header("bge-large")
    found = plan(
        [Candidate(label="F16", footprint=footprint_of(header), parameters=header.parameter_count)],
        budgets(GIB * 8),
        PlanConstraints(embedding=True),
    )
    setting = found.solution.setting
    assert setting.context == setting.batch == setting.ubatch == min(512, SHORT_CONTEXT)


def test_where_its_eyes_do_not_fit_they_stay_on_the_cpu() -> None:
    seeing = replace(one("llama3.1-8b", "Q4_K_M")[0], projector=2 * GIB)
    found = plan([seeing], budgets(16 * GIB, round(5.4 * GIB)), PlanConstraints(context=2048, slots=1))
    assert found.solution.setting.projector_on_cpu and found.solution.placement.kind is PlacementKind.GPU


def test_an_engine_that_shares_nothing_with_the_cpu_has_a_model_whole() -> None:
    shared = one("llama3.1-8b", "Q4_K_M")
    whole = [replace(shared[0], is_whole=True)]
    assert plan(shared, budgets(16 * GIB, 4 * GIB)).solution.placement.kind is PlacementKind.MOSTLY_GPU
    assert plan(whole, budgets(16 * GIB, 4 * GIB)).solution.placement.kind is PlacementKind.CPU
    assert plan(whole, budgets(16 * GIB, 8 * GIB)).solution.placement.kind is PlacementKind.GPU


def test_others_make_room_for_more_than_comfort_and_pinned_ones_never() -> None:
    model, room = one("llama3.1-8b", "Q4_K_M"), budgets(16 * GIB, 12 * GIB)
    alone = plan(model, room)
    little, much = Reservation(GIB, {0: GIB}), Reservation(GIB, {0: 11 * GIB})
    assert plan_among([little], model, room).solution.needs[0] <= 11 * GIB  # it is not evicted for a longer context
    assert plan_among([much], model, room).solution.placement.kind is alone.solution.placement.kind is PlacementKind.GPU
    assert plan_among([replace(much, stays=True)], model, room).solution.placement.kind is PlacementKind.PARTLY_GPU


@pytest.mark.parametrize(
    ("hardware", "limit", "host"),
    [
        (Hardware(CPU(), Memory(total_bytes=32 * GIB, available_bytes=20 * GIB)), None, 18 * GIB),
        (Hardware(CPU(), Memory(total_bytes=32 * GIB, available_bytes=32 * GIB)), None, 32 * GIB - round(3.2 * GIB)),
        (Hardware(CPU(), Memory(total_bytes=1 * GIB, available_bytes=1 * GIB)), None, GIB - GIB // 8),
        (Hardware(CPU(), Memory(total_bytes=32 * GIB, available_bytes=8 * GIB, limit_bytes=8 * GIB)), None, 7 * GIB),
        (Hardware(CPU(), Memory(total_bytes=32 * GIB, available_bytes=1 * GIB)), 5 * GIB, 5 * GIB),
    ],
)
def test_engines_share_what_others_leave_but_for_a_reserve(hardware: Hardware, limit: int | None, host: int) -> None:
    assert budgets_of(hardware, limit).host == host


def test_gpus_of_one_vendor_work_together_and_an_integrated_one_only_alone() -> None:
    big = GPU(vendor="nvidia", name="big", total_bytes=24 * GIB, free_bytes=24 * GIB)
    small = GPU(vendor="amd", name="small", total_bytes=8 * GIB, free_bytes=8 * GIB)
    shared = GPU(vendor="intel", name="shared", total_bytes=12 * GIB, free_bytes=12 * GIB, integrated=True)
    found = budgets_of(Hardware(CPU(), Memory(total_bytes=32 * GIB, available_bytes=20 * GIB), (shared, small, big)))
    assert found.gpus == (big,) and not found.shared
    alone = budgets_of(Hardware(CPU(), Memory(total_bytes=32 * GIB, available_bytes=20 * GIB), (shared,)))
    assert alone.shared and alone.devices == (12 * GIB,)


def test_a_machine_can_be_described_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(machine("nvidia-24gb").to_json())
    assert Hardware.load(path) == machine("nvidia-24gb")


def test_a_gpu_that_is_too_small_for_requested_layers_is_what_the_refusal_is_about() -> None:
    found = plan(one("llama3.1-8b", "Q8_0"), budgets(64 * GIB, 4 * GIB), PlanConstraints(layers_on_gpu=33))
    assert found.lacks_gpu_memory and "33 of its 33 layers need" in found.refusal
    assert "the machine's" not in found.refusal + " ".join(found.advice)
    assert "layers (num_gpu) to oprel" in found.advice[0]


def test_a_machine_without_memory_is_told_so_whatever_its_gpu_has() -> None:
    found = plan(one("llama3.1-8b", "Q8_0"), budgets(GIB, 4 * GIB), PlanConstraints(layers_on_gpu=10))
    assert not found.fits and not found.lacks_gpu_memory and "of the machine's" in found.refusal
