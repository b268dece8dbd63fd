"""Slow or hung: what an engine was seen to do goes in, verdicts come out."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oprel.runtime.supervisor.hang_detector import (
    BATCH,
    COMPILING,
    LONGEST_LOOK,
    REFUSALS,
    UNKNOWN_TOKEN,
    HangDetector,
    Pace,
    WatchedRequest,
)
from oprel.runtime.supervisor.procstat import ProcessStats

STALL = 30.0
LOOK = 0.5  # s between looks

Cpu = Callable[[float], float]  # seconds used by then


def spinning(now: float) -> float:
    return now


def stopped(now: float) -> float:
    return 7.0


def condemned_after(pulse: HangDetector, cpu: Cpu, start: float, within: float) -> float | None:
    """The seconds of silence after which it is condemned; None when it is not, within so many."""
    now = start
    while now <= start + within:
        if pulse.look(now, ProcessStats(cpu(now))):
            return now - start
        now += LOOK
    return None


def busy(pace: Pace | None = None, tokens: int = 0, now: float = 0.0) -> tuple[HangDetector, WatchedRequest]:
    pulse = HangDetector(STALL, pace or Pace())
    return pulse, pulse.begin(now, tokens)


def test_an_idle_engine_is_never_condemned() -> None:
    pulse, request = busy()
    pulse.end(request)
    assert condemned_after(pulse, stopped, 0.0, 10_000) is None


def test_an_engine_that_stands_still_is_condemned_early() -> None:
    """SIGSTOP, a deadlock."""
    pulse, _ = busy()
    assert condemned_after(pulse, stopped, 0.0, 100) == pytest.approx(STALL / 3, abs=2 * LOOK)


def test_one_that_spins_is_given_more_time() -> None:
    pulse, request = busy()
    pulse.moved(request, 0.0)
    assert condemned_after(pulse, spinning, 0.0, 100) == pytest.approx(STALL, abs=2 * LOOK)


def test_the_ticking_of_idle_threads_is_no_work() -> None:
    pulse, _ = busy()
    assert condemned_after(pulse, lambda now: now / 1000, 0.0, 100) == pytest.approx(STALL / 3, abs=2 * LOOK)


def test_an_engine_that_was_still_before_and_went_on_gets_more_time() -> None:
    """As one that waits for a GPU without a look at it."""
    pulse, request = busy()
    assert condemned_after(pulse, stopped, 0.0, 8.0) is None
    pulse.moved(request, 8.5)
    assert condemned_after(pulse, stopped, 8.5, 100) == pytest.approx(4 * 8.0, abs=2 * LOOK)


def test_before_its_pace_is_known_a_whole_batch_on_a_very_slow_cpu_is_waited_for() -> None:
    pulse, request = busy(tokens=100_000)
    pulse.prefilled(request, 0.0, 0, 100_000)
    assert condemned_after(pulse, spinning, 0.0, BATCH * UNKNOWN_TOKEN - 1) is None


def test_a_slow_gpu_computes_a_batch_without_cpu_time() -> None:
    pulse, request = busy(tokens=BATCH)
    pulse.prefilled(request, 0.0, 0, BATCH)
    assert condemned_after(pulse, stopped, 0.0, 120.0) is None
    pulse.prefilled(request, 121.0, BATCH, BATCH)
    pulse, request = busy(Pace(token=0.001, reports=True), tokens=BATCH)
    assert pulse.still_limit == STALL / 3


def test_a_prompt_of_which_the_engine_never_tells_is_waited_for_as_a_whole() -> None:
    pulse, _ = busy(tokens=10 * BATCH)
    assert pulse.spin_limit == 10 * BATCH * UNKNOWN_TOKEN


def test_an_honest_prefill_of_many_minutes_is_not_condemned() -> None:
    pulse, request = busy(tokens=20 * BATCH)
    for batch in range(20):
        pulse.prefilled(request, 90.0 * batch, batch * BATCH, 20 * BATCH)
        assert condemned_after(pulse, spinning, 90.0 * batch, 89.0) is None
    pulse.prefilled(request, 1800.0, 20 * BATCH, 20 * BATCH)
    assert pulse.pace.token == pytest.approx(90 / BATCH)
    assert pulse.spin_limit == STALL, "nothing is left of the prompt"


def test_the_pace_that_was_learned_is_the_limit_of_the_next_process() -> None:
    pace = Pace(token=0.01, reports=True)
    pulse, _ = busy(pace, tokens=100_000)
    assert pulse.spin_limit == pytest.approx(8 * BATCH * 0.01)
    pulse, _ = busy(pace, tokens=100)
    assert pulse.spin_limit == STALL


def test_a_pace_is_learned_of_a_prompt_alone_and_of_steps_that_are_long_enough() -> None:
    pulse, first = busy()
    second = pulse.begin(0.0, 0)
    pulse.prefilled(first, 0.0, 0, 4 * BATCH)
    pulse.prefilled(second, 0.0, 0, BATCH)
    pulse.prefilled(first, 60.0, 10, 4 * BATCH)
    assert pulse.pace.token is None, "both share a batch"
    pulse.end(second)
    pulse.prefilled(first, 70.0, 12, 4 * BATCH)
    assert pulse.pace.token is None, "two tokens in ten seconds"
    pulse.prefilled(first, 90.0, 12 + BATCH, 4 * BATCH)
    assert pulse.pace.token == pytest.approx(20 / BATCH)


def test_the_time_in_the_queue_is_nobodys_pace() -> None:
    pulse, request = busy(Pace(reports=True), tokens=5000)
    pulse.prefilled(request, 100.0, 0, 2000)
    assert pulse.pace.token is None


def test_any_movement_is_movement_of_the_engine() -> None:
    pulse, request = busy()
    pulse.begin(0.0, 0)
    for now in range(1000):
        pulse.moved(request, float(now))
        assert condemned_after(pulse, spinning, float(now), 0.9) is None


def test_requests_that_keep_coming_are_no_movement() -> None:
    pulse, _ = busy()
    for second in range(40):
        if condemned_after(pulse, stopped, float(second), 0.9) is not None:
            return
        pulse.begin(float(second), 10)
    raise AssertionError("never condemned")


def test_a_client_that_takes_its_time_is_no_hang_of_the_engine() -> None:
    pulse, request = busy()
    pulse.pause(request)
    assert condemned_after(pulse, stopped, 0.0, 1000) is None
    pulse.resume(request)
    assert condemned_after(pulse, stopped, 1000.0, 100) == pytest.approx(STALL / 3, abs=2 * LOOK)


def test_weights_that_come_from_disk_are_progress() -> None:
    pulse, _ = busy()
    for now in range(200):
        assert pulse.look(float(now), ProcessStats(read=now << 21)) is None


def test_time_in_which_nobody_looked_does_not_count() -> None:
    """The daemon was suspended itself."""
    pulse, _ = busy()
    assert pulse.look(0.0, ProcessStats()) is None
    assert pulse.look(3600.0, ProcessStats()) is None
    assert condemned_after(pulse, stopped, 3600.5, STALL / 3 - LONGEST_LOOK - 3 * LOOK) is None


def test_work_that_shows_nothing_gets_the_patience_it_is_known_to_need() -> None:
    pulse = HangDetector(STALL, Pace())
    request = pulse.begin(0.0, 10, extra_seconds=120.0)
    assert pulse.spin_limit == STALL + 120
    assert pulse.still_limit > 120
    pulse.moved(request, 100.0)
    assert pulse.spin_limit == STALL


# On a machine that is busy with other programs


def starved(threads: int, share: float) -> Callable[[float], ProcessStats]:
    """So many threads that want to run all the time, and of which each gets a share of a CPU."""
    return lambda now: ProcessStats(cpu=now * threads * share, waited=now * threads * (1 - share))


def killed_after(pulse: HangDetector, does: Callable[[float], ProcessStats], within: float) -> float | None:
    """The seconds without progress after which it is killed; None if it is not, within so many."""
    for look in range(round(within / LOOK) + 1):
        if pulse.look(look * LOOK, does(look * LOOK)):
            return look * LOOK
    return None


@pytest.mark.parametrize("threads", [1, 2, 8, 64])
@pytest.mark.parametrize("slower", [2, 10, 50, 1000])
def test_an_honest_step_takes_longer_by_what_other_programs_take(threads: int, slower: int) -> None:
    pulse, _ = busy()
    assert killed_after(pulse, starved(threads, 1 / slower), 0.9 * STALL * slower) is None


@pytest.mark.parametrize("threads", [2, 8])
def test_threads_that_wait_for_each_other_slow_down_by_more_than_their_share(threads: int) -> None:
    pulse, _ = busy()
    assert killed_after(pulse, starved(threads, 1 / 13), 0.9 * STALL * 13**2) is None


@pytest.mark.parametrize("slower", [1, 2, 10, 50])
def test_one_that_spins_on_a_busy_machine_is_killed_when_it_has_got_its_time(slower: int) -> None:
    pulse, _ = busy()
    silence = killed_after(pulse, starved(1, 1 / slower), 2 * STALL * slower)
    assert silence == pytest.approx(STALL * slower, rel=0.1)


def test_one_that_stands_still_on_a_busy_machine_is_killed_as_early_as_ever() -> None:
    """It does not even want a CPU."""
    pulse, _ = busy()
    assert killed_after(pulse, lambda now: ProcessStats(3.0, waited=100.0), 100) == pytest.approx(10, abs=2 * LOOK)


def test_one_that_gets_nearly_no_cpu_does_not_stand_still() -> None:
    pulse, _ = busy()
    assert killed_after(pulse, starved(1, 0.0), 1000.0) is None


def test_one_that_a_limiter_stops_and_continues_is_given_what_it_lost() -> None:
    pulse, _ = busy()
    assert killed_after(pulse, lambda now: ProcessStats(now / 50, throttled=True), 0.9 * STALL * 50) is None


def test_one_that_stays_stopped_is_killed() -> None:
    pulse, _ = busy()
    stays = ProcessStats(7.0, throttled=True)
    assert killed_after(pulse, lambda now: stays, 100) == pytest.approx(STALL / 3, abs=2 * LOOK)


def test_one_that_polls_a_gpu_without_a_rival_is_judged_by_the_clock() -> None:
    pulse, _ = busy()
    assert killed_after(pulse, lambda now: ProcessStats(now / 10), 100) == pytest.approx(STALL, abs=2 * LOOK)


def test_a_pace_that_was_learned_on_a_busy_machine_is_that_of_the_engine() -> None:
    pulse, request = busy()
    pulse.prefilled(request, 0.0, 0, BATCH)
    assert killed_after(pulse, starved(1, 1 / 10), 200.0) is None
    pulse.prefilled(request, 200.0, BATCH, BATCH)
    assert pulse.pace.token == pytest.approx(20 / BATCH, rel=0.05)


def test_an_engine_that_refuses_everything_is_condemned() -> None:
    pulse, request = busy()
    verdicts = [pulse.refused() for _ in range(REFUSALS - 1)]
    pulse.moved(request, 1.0)
    verdicts += [pulse.refused() for _ in range(REFUSALS - 1)]
    assert not any(verdicts)
    assert "refused 5 requests" in (pulse.refused() or "")


@settings(deadline=None, max_examples=50)
@given(st.data(), st.floats(0.001, 0.4), st.integers(1, 4))
def test_no_engine_is_condemned_whose_steps_take_no_longer_than_its_limits(
    data: st.DataObject, token: float, batches: int
) -> None:
    """One request after another: a prompt in steps, at a pace that varies by five, then tokens with gaps."""
    pace, now = Pace(), 0.0
    for _ in range(data.draw(st.integers(1, 3))):
        pulse, request = busy(pace, batches * BATCH, now)
        for batch in range(batches + 1):
            pulse.prefilled(request, now, batch * BATCH, batches * BATCH)
            step = BATCH * token * data.draw(st.floats(0.3, 1.0)) if batch < batches else 0.0
            assert condemned_after(pulse, spinning, now, step) is None
            now += step
        for gap in data.draw(st.lists(st.floats(0.0, STALL - 2 * LOOK), max_size=5)):
            assert condemned_after(pulse, spinning, now, gap) is None
            now += gap
            pulse.moved(request, now)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.0, 100.0), st.integers(0, 3 * BATCH)), max_size=20),
    st.integers(0, 10 * BATCH),
    st.sampled_from([spinning, stopped]),
)
def test_every_engine_that_stops_is_condemned_within_its_limit(
    events: list[tuple[float, int]], tokens: int, cpu: Cpu
) -> None:
    pulse, request = busy(tokens=tokens)
    now, done = 0.0, 0
    for pause, step in events:
        now += pause
        done += step
        if step:
            pulse.prefilled(request, now, done, 2 * done)
        else:
            pulse.moved(request, now)
    limit = pulse.spin_limit if cpu is spinning else pulse.still_limit
    silence = condemned_after(pulse, cpu, now, limit + 4 * LOOK)
    assert silence is not None
    assert silence >= min(limit, pulse.spin_limit) - 2 * LOOK


# Shaders


def on_gpu(tokens: int) -> tuple[HangDetector, WatchedRequest]:
    pulse = HangDetector(STALL, Pace(), compiles=True)
    return pulse, pulse.begin(0.0, tokens)


def test_shaders_may_be_compiled_for_the_first_prompt() -> None:
    pulse, _ = on_gpu(20)
    assert condemned_after(pulse, spinning, 0.0, COMPILING) is None
    assert condemned_after(pulse, spinning, COMPILING, 2 * STALL)


def test_there_are_shaders_for_a_prompt_that_is_no_longer_than_an_answered_one() -> None:
    pulse, first = on_gpu(20)
    pulse.moved(first, 100.0)
    pulse.end(first)
    again = pulse.begin(100.0, 20)
    assert condemned_after(pulse, spinning, 100.0, 2 * STALL)
    pulse.end(again)
    pulse.begin(300.0, 500)
    assert condemned_after(pulse, spinning, 300.0, 2 * STALL) is None


def test_an_answer_that_has_begun_needs_no_more_shaders() -> None:
    pulse, request = on_gpu(20)
    pulse.moved(request, 100.0)
    assert condemned_after(pulse, spinning, 100.0, 2 * STALL)
