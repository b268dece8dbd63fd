"""Durations, sizes and times. The doctests of the module are run by tests/unit/test_doctests.py."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from oprel.utils.text import human_count, human_interval, human_size, parse_duration, timestamp


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("0", 0.0), ("-0", 0.0), ("0s", 0.0)),
        *(("5s", 5.0), ("+5s", 5.0), ("-5s", -5.0), ("5m", 300.0), ("2h", 7200.0)),
        *(("1.5h", 5400.0), (".5s", 0.5), ("5.s", 5.0)),
        *(("3h30m", 12_600.0), ("-1m30s", -90.0), ("30m1h", 5400.0), ("1h15m30.918s", 4530.918)),
        *(("10ms", 0.01), ("1us", 1e-6), ("1µs", 1e-6), ("1μs", 1e-6), ("100ns", 1e-7)),
    ],
)
def test_a_duration_is_read_as_go_reads_it(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        *((text, f'time: missing unit in duration "{text}"') for text in ("5", "-1", "1.5", "+30")),
        *((text, f'time: invalid duration "{text}"') for text in ("", "-", "m", ".", ".s", "five", " 5m")),
        ("5m 3s", 'time: unknown unit "m " in duration "5m 3s"'),
    ],
)
def test_a_bad_duration_is_refused_in_gos_words(text: str, complaint: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_duration(text)
    assert str(caught.value) == complaint


@pytest.mark.parametrize(
    ("size", "text"),
    [
        *((0, "0 B"), (1, "1 B"), (1000, "1.0 KB"), (1500, "1.5 KB"), (12_345, "12 KB")),
        *((7_100_000, "7.1 MB"), (75_300_000_000, "75 GB"), (2 * 10**12, "2.0 TB"), (3 * 10**15, "3000 TB")),
    ],
)
def test_a_size_has_a_decimal_unit(size: int, text: str) -> None:
    assert human_size(size) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0"), (1500, "1.50K"), (22_700_000, "22.70M"), (7 * 10**10, "70.0B")])
def test_a_count_is_as_on_a_model_card(count: int, text: str) -> None:
    assert human_count(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0 seconds"), (0.9, "0 seconds"), (1, "1 second"), (59.9, "59 seconds"), (60, "1 minute")),
        *((3599, "59 minutes"), (3600, "1 hour"), (86_399, "23 hours"), (86_400, "1 day"), (10**8, "1157 days")),
    ],
)
def test_an_interval_is_in_its_largest_unit(seconds: float, text: str) -> None:
    assert human_interval(seconds) == text


def test_a_timestamp_is_in_utc() -> None:
    noon = datetime(2026, 1, 2, 12, 0, 0, 5, timezone(timedelta(hours=3)))
    assert timestamp(noon) == "2026-01-02T09:00:00.000005Z"
    assert datetime.now(UTC) - datetime.fromisoformat(timestamp()) < timedelta(seconds=10)
