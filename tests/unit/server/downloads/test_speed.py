"""How fast a download is at the moment."""

from oprel.server.downloads.speed import DownloadSpeed


def test_the_last_seconds_count() -> None:
    now = 0.0
    speed = DownloadSpeed(lambda: now)
    assert speed.bytes_per_second == 0
    for second in range(20):
        now = float(second)
        speed.note(second * 100 if second < 10 else 900 + (second - 9) * 1000)
    assert speed.bytes_per_second == 1000


def test_a_standstill_has_no_speed_and_a_new_beginning_counts_anew() -> None:
    now = 0.0
    speed = DownloadSpeed(lambda: now)
    speed.note(0)
    now = 1.0
    speed.note(500)
    assert speed.bytes_per_second == 500
    now = 10.0
    assert speed.bytes_per_second == 0
    speed.note(100)
    assert speed.bytes_per_second == 0
