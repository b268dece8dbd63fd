"""Which requests are held to have killed an engine."""

import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from oprel.core.completion import CompletionRequest, PromptMessage, Sampling
from oprel.core.exceptions import QuarantinedError
from oprel.runtime.exits import Exit, Reason
from oprel.server.history.quarantine import LASTS, MOST, Quarantine, request_hash

POISON = CompletionRequest((PromptMessage("user", "poison"),), Sampling(seed=1))
CRASH = Exit(Reason.CRASH_SIGNAL, "SIGSEGV", "")


@pytest.fixture
def quarantine() -> Quarantine:
    return Quarantine()


def poison(quarantine: Quarantine, request: CompletionRequest = POISON) -> None:
    quarantine.strike("tiny", request, CRASH)
    with pytest.raises(QuarantinedError, match="ended its engine 2 times"):
        quarantine.strike("tiny", request, CRASH)


def test_a_request_that_killed_its_engine_twice_is_refused(quarantine: Quarantine) -> None:
    poison(quarantine)
    with pytest.raises(QuarantinedError, match="crash_signal: SIGSEGV"):
        quarantine.check("tiny", POISON)


def test_once_is_not_enough(quarantine: Quarantine) -> None:
    quarantine.strike("tiny", POISON, CRASH)
    quarantine.check("tiny", POISON)
    assert not quarantine.entries()


def test_others_are_asked_as_before(quarantine: Quarantine) -> None:
    poison(quarantine)
    quarantine.check("tiny", replace(POISON, prompt="another"))
    quarantine.check("large", POISON)


def test_a_model_that_was_replaced_is_asked_again(quarantine: Quarantine) -> None:
    for _ in range(2):
        with contextlib.suppress(QuarantinedError):
            quarantine.strike("tiny", POISON, CRASH, version="faulty")
    with pytest.raises(QuarantinedError):
        quarantine.check("tiny", POISON, lambda: "faulty")
    quarantine.check("tiny", POISON, lambda: "mended")
    quarantine.strike("tiny", POISON, CRASH, version="mended")  # the first time for this one


def test_another_seed_is_the_same_request(quarantine: Quarantine) -> None:
    poison(quarantine)
    with pytest.raises(QuarantinedError):
        quarantine.check("tiny", replace(POISON, sampling=replace(POISON.sampling, seed=2)))


def test_an_answer_clears_the_request(quarantine: Quarantine) -> None:
    quarantine.strike("tiny", POISON, CRASH)
    quarantine.clear_request("tiny", POISON)
    quarantine.strike("tiny", POISON, CRASH)


def test_it_is_let_go_by_its_hash_or_with_all_others(quarantine: Quarantine) -> None:
    poison(quarantine)
    poison(quarantine, replace(POISON, prompt="another"))
    assert quarantine.clear(request_hash("tiny", POISON)[:6]) == 1
    quarantine.check("tiny", POISON)
    assert quarantine.clear() == 1 and not quarantine.entries()


def test_it_is_let_go_after_a_day() -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    quarantine = Quarantine(lambda: now[0])
    poison(quarantine)
    now[0] += LASTS + timedelta(seconds=1)
    quarantine.check("tiny", POISON)


def test_it_forgets_the_oldest_of_too_many(quarantine: Quarantine) -> None:
    poison(quarantine)
    for number in range(MOST):
        quarantine.strike("tiny", replace(POISON, prompt=str(number)), CRASH)
    quarantine.check("tiny", POISON)
