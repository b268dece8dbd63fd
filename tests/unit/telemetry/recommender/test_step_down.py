"""How an engine is restarted after it ran out of memory."""

from itertools import groupby

from oprel.telemetry.hardware.devices import GPU
from oprel.telemetry.memory.estimator import footprint_of
from oprel.telemetry.recommender.budgets import Budgets
from oprel.telemetry.recommender.candidates import Candidate
from oprel.telemetry.recommender.placement import PlacementKind
from oprel.telemetry.recommender.planning import Plan, plan
from oprel.telemetry.recommender.settings import PlanConstraints
from oprel.telemetry.recommender.step_down import SHARE, given_up, less, moves, of_gpus, without_gpus
from tests.fixtures.known_models import known_header

GIB = 1024**3
ON_CPU = Budgets(host=64 * GIB)
ON_GPU = Budgets(
    host=64 * GIB,
    gpus=(GPU(vendor="nvidia", name="GPU", total_bytes=24 * GIB, free_bytes=24 * GIB),),
    devices=(23 * GIB,),
)


def descent(budgets: Budgets, asked: PlanConstraints | None = None, model: str = "llama3.1-8b") -> list[Plan]:
    """Every plan down to the last."""
    header = known_header(model)
    candidate = Candidate(label="Q8_0", footprint=footprint_of(header), parameters=header.parameter_count)
    plans = [plan([candidate], budgets, asked)]
    while found := less(plans[-1]):
        plans.append(found)
    return plans


def words(plans: list[Plan]) -> list[list[str]]:
    return [list(given_up(plans[0].solution, one.solution)) for one in plans]


def test_each_step_takes_less_than_the_one_before() -> None:
    for budgets in ON_CPU, ON_GPU:
        plans = descent(budgets)
        for before, after in zip(plans, plans[1:], strict=False):
            on_gpus = of_gpus(before, None)
            assert moves(after.solution, on_gpus=on_gpus) < moves(before.solution, on_gpus=on_gpus)
        assert len(plans) > 3


def test_a_step_is_worth_its_while_where_one_can_be() -> None:
    first, second, *_ = descent(ON_CPU)
    assert second.solution.host_needs <= SHARE * first.solution.host_needs


def test_what_is_missed_least_goes_first_and_is_told_in_words() -> None:
    told = words(descent(ON_CPU))
    assert [words for words, _ in groupby(told)][:3] == [
        [],
        ["a shorter context"],
        ["fewer saved conversations", "a shorter context"],
    ]
    assert told[-1][1:] == ["a shorter context", "one request at a time", "KV cache in q8_0"]


def test_at_load_conversations_that_would_have_been_saved_later_save_nothing() -> None:
    first = descent(ON_CPU)[0]
    again = less(first, at_load=True)
    assert again
    needs = first.solution.host_needs - first.solution.pool.reserved
    assert again.solution.host_needs <= SHARE * needs


def test_at_the_end_a_gpu_is_left_alone() -> None:
    plans = descent(ON_GPU)
    assert plans[0].solution.placement.kind is PlacementKind.GPU
    assert plans[-1].solution.placement.kind is PlacementKind.CPU
    assert "no layers on the GPU" in words(plans)[-1]
    assert any("fewer weights on the GPU" in told for told in words(plans))


def test_what_was_asked_for_stays() -> None:
    asked = PlanConstraints(context=8192, slots=4, layers_on_gpu=33, key_type="f16", value_type="f16")
    for found in descent(ON_GPU, asked):
        setting = found.solution.setting
        assert (setting.context, setting.slots, setting.key_type) == (8192, 4, "f16")
        assert found.solution.placement.gpu_layers == 33


def test_a_model_that_makes_vectors_keeps_whole_texts_in_one_batch() -> None:
    for found in descent(ON_CPU, PlanConstraints(embedding=True), "bge-large"):
        assert found.solution.setting.ubatch == found.solution.setting.context


def steps_on_device(first: Plan) -> list[Plan]:
    plans = [first]
    while found := less(plans[-1], on_device=True, steps=len(plans) - 1):
        plans.append(found)
    return plans


def test_a_gpu_whose_free_memory_is_unknown_is_left_after_few_attempts() -> None:
    plans = steps_on_device(descent(ON_GPU, PlanConstraints(context=8192, slots=1))[0])
    assert len(plans) <= 8 and plans[-1].solution.placement.kind is PlacementKind.CPU


def test_on_a_gpu_each_step_changes_what_the_engine_is_told() -> None:
    """Left to place the layers itself, the engine would place them as before."""
    first, *later = steps_on_device(descent(ON_GPU, PlanConstraints(context=8192, slots=1))[0])
    assert not first.places_layers and all(plan.places_layers for plan in later)
    placements = [(plan.solution.placement.gpu_layers, plan.solution.setting) for plan in (first, *later)]
    assert len(set(placements)) == len(placements)


def test_what_is_said_to_be_given_up_was_given_up() -> None:
    plans = steps_on_device(descent(ON_GPU)[0])
    for found in plans[1:]:
        before, after = plans[0].solution.placement, found.solution.placement
        is_told = bool(
            {"fewer weights on the GPU", "no layers on the GPU"} & {*given_up(plans[0].solution, found.solution)}
        )
        assert is_told == (after.gpu_layers < before.gpu_layers or after.cpu_experts > before.cpu_experts)


def test_a_shortage_of_the_machines_memory_moves_nothing_off_the_gpu() -> None:
    partly = descent(ON_GPU, PlanConstraints(layers_on_gpu=20))[0]
    found = less(partly, on_device=False)
    assert found and found.solution.host_needs < partly.solution.host_needs
    assert found.solution.placement.gpu_layers == 20 and not found.places_layers


def test_a_gpu_that_the_plan_does_not_use_has_nothing_to_give_up() -> None:
    assert less(descent(ON_CPU)[0], on_device=True) is None


def test_without_its_gpu_a_model_runs_on_the_cpu_whatever_was_requested() -> None:
    found = without_gpus(descent(ON_GPU, PlanConstraints(layers_on_gpu=20))[0])
    assert found and found.solution.placement.kind is PlacementKind.CPU
    small = Budgets(host=GIB, gpus=ON_GPU.gpus, devices=ON_GPU.devices)
    assert without_gpus(descent(small)[0]) is None
