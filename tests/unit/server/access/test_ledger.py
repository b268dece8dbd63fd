"""The counter of requests and tokens, with a clock that the test moves."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from oprel.server.access.ledger import KeyLimits, Ledger


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_requests_come_back_one_by_one() -> None:
    time = Time()
    ledger, limits = Ledger(time), KeyLimits(requests_per_minute=3)
    assert [ledger.admit("a", limits) for _ in range(3)] == [0, 0, 0]
    assert ledger.admit("a", limits) == 20
    assert ledger.admit("b", limits) == 0
    time.now = 20
    assert ledger.admit("a", limits) == 0
    assert ledger.admit("a", limits) == 20


def test_an_answer_that_took_too_much_delays_the_next_request() -> None:
    time = Time()
    ledger, limits = Ledger(time), KeyLimits(tokens_per_minute=60)
    assert ledger.admit("a", limits) == 0
    ledger.book("a", limits, 90)
    assert ledger.admit("a", limits) == 31
    time.now = 31
    assert ledger.admit("a", limits) == 0


def test_without_limits_nothing_is_counted() -> None:
    ledger = Ledger(Time())
    ledger.book("a", KeyLimits(), 10**9)
    assert ledger.admit("a", KeyLimits()) == 0


def test_a_changed_limit_counts_at_once_and_what_is_gone_is_forgotten() -> None:
    ledger = Ledger(Time())
    assert ledger.admit("a", KeyLimits(1)) == 0
    assert ledger.admit("a", KeyLimits(1)) > 0
    assert ledger.admit("a", KeyLimits(2)) == 0
    ledger.keep_only(["b"])
    assert [ledger.admit("a", KeyLimits(2)) for _ in range(2)] == [0, 0]


@given(st.integers(1, 50), st.lists(st.floats(0, 10), max_size=200))
def test_no_minute_has_twice_the_limit(limit: int, pauses: list[float]) -> None:
    time = Time()
    ledger, admitted = Ledger(time), list[float]()
    for pause in pauses:
        time.now += pause
        if ledger.admit("a", KeyLimits(limit)) == 0:
            admitted.append(time.now)
    for first, last in zip(admitted, itertools.islice(admitted, 2 * limit, None), strict=False):
        assert last - first >= 59.9
