"""How an engine is restarted after it ran out of memory."""

from itertools import groupby

from oprel.telemetry.hardware.devices import GPU
from oprel.telemetry.memory.estimator import footprint_of
from oprel.telemetry.recommender.budgets import Budgets
from oprel.telemetry.recommender.candidates import Candidate
from oprel.telemetry.recommender.placement import PlacementKind
from oprel.telemetry.recommender.planning import Plan, plan
from oprel.telemetry.recommender.settings import PlanConstraints
from oprel.telemetry.recommender.step_down import SHARE, given_up, less, moves
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
            assert moves(after.solution, before) < moves(before.solution, before)
        assert len(plans) > 3


def test_a_step_is_worth_its_while_where_one_can_be() -> None:
    first, second, *_ = descent(ON_CPU)
    assert moves(second.solution, first) <= SHARE * moves(first.solution, first)


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
