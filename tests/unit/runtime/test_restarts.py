"""When an engine may be started again: histories in, verdicts out."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oprel.runtime import restarts
from oprel.runtime.exits import Exit, Reason, Restart
from oprel.runtime.restarts import HEALTHY, HOPELESS_PAUSE, MOST, WINDOW, End, History, Verdict


def judge(ends: Iterable[End], now: float, jitter: float = 0.0) -> Verdict:
    """The verdict on ends that are kept as an engine's process keeps them."""
    history = History()
    history.ends.extend(ends)
    return restarts.judge(history.ends, now, jitter)


def end(reason: Reason, at: float, served: float = 0.0) -> End:
    return End(Exit(reason, "", ""), at, served)


def crashes(*moments: float) -> list[End]:
    return [end(Reason.CRASH_SIGNAL, at) for at in moments]


def test_an_engine_that_never_ended_starts_at_once() -> None:
    assert judge([], 0.0) == Verdict(0.0)


def test_the_first_crash_is_followed_by_a_start_at_once() -> None:
    assert judge(crashes(5.0), 5.0) == Verdict(0.0)


def test_a_hang_counts_as_a_crash() -> None:
    ends = [end(Reason.HUNG, float(at), served=9.0) for at in range(MOST)]
    assert judge(ends[:2], 1.0) == Verdict(0.5)
    assert judge(ends, 10.0).refused


@pytest.mark.parametrize(("count", "wait"), [(2, 0.5), (3, 1.0), (4, 2.0), (5, 4.0)])
def test_the_next_ones_wait_twice_as_long_each_time(count: int, wait: float) -> None:
    assert judge(crashes(*range(count)), count - 1.0) == Verdict(wait)


def test_time_that_passed_counts() -> None:
    assert judge(crashes(0.0, 1.0, 2.0), 2.75) == Verdict(0.25)
    assert judge(crashes(0.0, 1.0, 2.0), 60.0) == Verdict(0.0)


def test_the_circuit_opens_after_the_last_allowed_end_and_closes_by_itself() -> None:
    ends = crashes(*range(MOST))
    assert judge(ends, 10.0) == Verdict(WINDOW - 10.0, refused=True)
    assert not judge(ends, WINDOW).refused, "one trial"
    assert judge([*ends, *crashes(WINDOW)], WINDOW + 0.5).refused, "which failed"


def test_long_service_forgives_what_was_before() -> None:
    ends = [*crashes(*range(MOST)), end(Reason.CRASH_SIGNAL, 400.0, HEALTHY)]
    assert judge(ends, 400.0) == Verdict(0.0)


@given(
    st.lists(st.tuples(st.sampled_from(Reason), st.floats(0, 9000), st.floats(0, 2000)), max_size=40), st.floats(-1, 1)
)
def test_every_history_gets_a_verdict(lives: list[tuple[Reason, float, float]], jitter: float) -> None:
    now, ends = 0.0, list[End]()
    for reason, served, pause in lives:
        now += served
        ends.append(end(reason, now, served))
        assert 0 <= judge(ends, now, jitter).wait <= WINDOW
        if served >= HEALTHY and reason.consequences.restart is not Restart.HOPELESS:
            assert judge(ends, now, jitter) == Verdict(0.0)
        now += pause


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.consequences.restart is Restart.HOPELESS])
def test_a_hopeless_end_allows_one_start_a_minute(reason: Reason) -> None:
    assert judge([end(reason, 0.0)], 1.0) == Verdict(HOPELESS_PAUSE - 1.0, refused=True)
    assert judge([end(reason, 0.0)], HOPELESS_PAUSE) == Verdict(0.0)


def test_engines_that_died_together_do_not_start_together() -> None:
    early, late = (judge(crashes(0.0, 0.0), 0.0, jitter).wait for jitter in (-1.0, 1.0))
    assert early == pytest.approx(0.4)
    assert late == pytest.approx(0.6)


@given(st.lists(st.floats(0, 5), max_size=200), st.floats(-1, 1))
def test_no_history_of_crashes_gets_more_than_six_starts_in_ten_minutes(pauses: list[float], jitter: float) -> None:
    """An engine that dies as soon as it starts, asked for again after each pause."""
    now, ends, starts = 0.0, list[End](), list[float]()
    for pause in pauses:
        now += pause
        verdict = judge(ends[-2 * MOST :], now, jitter)
        if not verdict.refused:
            now += verdict.wait
            starts.append(now)
            ends.append(end(Reason.CRASH_SIGNAL, now))
    assert all(sum(start - WINDOW < other <= start for other in starts) <= MOST for start in starts)


def test_an_engine_killed_from_outside_while_it_served_always_starts_at_once() -> None:
    assert judge([end(Reason.KILLED, float(at), served=0.1) for at in range(100)], 100.0) == Verdict(0.0)
    assert judge([end(Reason.KILLED, float(at)) for at in range(100)], 100.0).refused, "killed while it loads"
    assert judge([end(Reason.OUT_OF_MEMORY, float(at), served=9.0) for at in range(100)], 100.0).refused
