"""The memory for conversations without a slot."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oprel.telemetry.memory.estimator import MIB, Estimate, estimate, footprint_of
from oprel.telemetry.memory.load_shape import LoadShape
from oprel.telemetry.recommender.budgets import Budgets, Reservation
from oprel.telemetry.recommender.cache_pool import CONVERSATIONS, MOST, SPARE_SHARE, largest_pool, least_pool
from oprel.telemetry.recommender.candidates import Candidate
from oprel.telemetry.recommender.planning import plan, plan_among
from oprel.telemetry.recommender.settings import PlanConstraints
from tests.fixtures.known_models import known_header
from tests.fixtures.random_models import random_header

NAMES = ("llama3.1-8b", "gemma3-4b", "mamba-2.8b", "qwen3next-80b")


def memory_of(name: str, context: int = 8192, slots: int = 4) -> Estimate:
    return estimate(known_header(name), LoadShape(context=context * slots, slots=slots, unified=True))


@given(st.sampled_from(NAMES), st.integers(0, 64 * 1024 * MIB))
def test_it_takes_its_share_of_what_is_spare(name: str, spare: int) -> None:
    memory = memory_of(name)
    more = largest_pool(memory, spare).reserved - least_pool(memory).reserved
    assert 0 <= more <= min(MOST, SPARE_SHARE * spare)


@given(st.sampled_from(NAMES), st.integers(0, 64 * 1024 * MIB), st.integers(0, 64 * 1024 * MIB))
def test_more_spare_memory_is_never_a_smaller_pool(name: str, spare: int, more: int) -> None:
    memory = memory_of(name)
    few, many = largest_pool(memory, spare), largest_pool(memory, spare + more)
    assert few.checkpoints <= many.checkpoints and few.reserved <= many.reserved


@pytest.mark.parametrize("name", NAMES)
def test_with_plenty_it_holds_two_conversations_for_each_slot(name: str) -> None:
    memory = memory_of(name, context=1024)
    pool = largest_pool(memory, 10**12)
    each = memory.conversation + pool.checkpoints * memory.checkpoint
    assert pool.cache == CONVERSATIONS * 4 * each // MIB * MIB


def test_only_models_that_cannot_go_back_have_checkpoints() -> None:
    assert largest_pool(memory_of("llama3.1-8b"), 10**12).checkpoints == 0
    assert least_pool(memory_of("gemma3-4b")).checkpoints == 1, "else they read every prompt from the beginning"


def test_a_checkpoint_has_the_size_that_engines_log() -> None:
    """gemma-3-270m: "created context checkpoint 2 of 8 (pos_min = 1516, pos_max = 2027, …, size = 7.506 MiB)"."""
    memory = estimate(known_header("gemma3-270m"), LoadShape(context=8192, slots=4, unified=True))
    assert memory.checkpoint / MIB == pytest.approx(7.5, abs=0.01)


def test_the_pool_is_given_up_before_slots_and_slots_before_context() -> None:
    header = random_header("gemma3")
    candidate = Candidate(label="Q8_0", footprint=footprint_of(header), parameters=header.parameter_count)
    before = None
    for budget in range(2000, 200, -10):
        found = plan([candidate], Budgets(host=budget * MIB), PlanConstraints(ample=False))
        if not found.fits:
            break
        now = found.solution
        if before and now.setting.slots < before.setting.slots:
            assert before.pool.reserved - least_pool(before.estimate).reserved < 10 * MIB
        if before and now.setting.context < before.setting.context:
            assert before.setting.slots == 1
        before = now
    assert before and before.setting.slots == 1, "the smallest plan answers one request at a time"


def eight_billion(*, is_whole: bool = False) -> Candidate:
    header = known_header("llama3.1-8b")
    footprint = footprint_of(header).resized(5 * 1024 * MIB, "Q4_K_M")
    return Candidate(label="Q4_K_M", footprint=footprint, parameters=header.parameter_count, is_whole=is_whole)


def test_engines_that_save_no_conversations_reserve_nothing_for_them() -> None:
    found = plan([eight_billion(is_whole=True)], Budgets(host=96 * 1024 * MIB))
    assert found.fits and found.solution.pool.reserved == 0


def test_no_model_is_evicted_for_saved_conversations() -> None:
    other = Reservation(24 * 1024 * MIB)
    found = plan_among([other], [eight_billion()], Budgets(host=32 * 1024 * MIB), PlanConstraints(context=8192))
    assert found.fits and found.solution.host_needs <= 8 * 1024 * MIB
