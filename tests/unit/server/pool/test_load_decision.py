"""What an engine may take of memory, by the decision how it is run."""

from dataclasses import replace

import pytest

from oprel.runtime.confinement.limits import ALLOWANCE, DRIVER
from tests.fixtures.pool import MODEL, MakePool


@pytest.mark.parametrize(("hardware", "slack"), [("cpu-64gb", ALLOWANCE), ("nvidia-24gb", ALLOWANCE + DRIVER)])
async def test_an_engine_may_take_half_as_much_again_as_is_reserved(
    make_pool: MakePool, hardware: str, slack: int
) -> None:
    decision = (await make_pool(hardware=hardware).load(MODEL)).decision
    assert decision.spec.limits.reserved == sum(decision.needs) > 0
    assert decision.spec.limits.memory == int(1.5 * sum(decision.needs)) + slack


async def test_with_arguments_of_the_user_it_may_take_what_all_models_may(make_pool: MakePool) -> None:
    decision = (await make_pool(default_max_memory_mb=0).load(MODEL)).decision
    constraints = replace(decision.constraints, extra_arguments=("--cache-ram", "8192"))
    most = replace(decision, constraints=constraints).spec.limits.memory
    assert most == decision.plan.budgets.host > 2 * sum(decision.needs)
