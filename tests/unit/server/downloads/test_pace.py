"""How fast a download is at the moment."""

from oprel.server.downloads.pace import Pace


def test_the_last_seconds_count() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    assert pace.bytes_per_second == 0
    for second in range(20):
        now = float(second)
        pace.note(second * 100 if second < 10 else 900 + (second - 9) * 1000)
    assert pace.bytes_per_second == 1000


def test_a_standstill_has_no_speed_and_a_new_beginning_counts_anew() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    pace.note(0)
    now = 1.0
    pace.note(500)
    assert pace.bytes_per_second == 500
    now = 10.0
    assert pace.bytes_per_second == 0
    pace.note(100)
    assert pace.bytes_per_second == 0
