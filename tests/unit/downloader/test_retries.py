"""Which waits the user is told of, and how often a question is asked."""

import anyio.to_thread
import httpx
import pytest

from oprel.downloader.network import retries, waits
from oprel.downloader.network.retries import next_wait, patiently_blocking, unreachable
from oprel.downloader.network.waits import announce, tell_waits

SHORT, LONG = 0.1, 12.0  # s


def shown(seconds: float, *, was_silent: bool = False) -> list[str]:
    texts: list[str] = []
    tell_waits(texts.append)
    announce("busy", seconds, was_silent=was_silent)
    return texts


async def test_long_waits_and_those_after_silence_are_shown() -> None:
    assert shown(LONG) == ["busy; next attempt in 12 s"]
    assert shown(SHORT, was_silent=True) == ["busy; next attempt in 1 s"]
    assert shown(SHORT) == []


async def test_waits_in_threads_are_shown_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "NOTICEABLE", 0.0)
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.001)
    texts: list[str] = []
    tell_waits(texts.append)
    results = iter([unreachable("reset", httpx.ReadError("reset")), None])

    def ask() -> str:
        if error := next(results):
            raise error
        return "answer"

    assert await anyio.to_thread.run_sync(patiently_blocking, ask) == "answer"
    assert texts == ["reset; next attempt in 1 s"]


@pytest.mark.parametrize(
    ("error", "tries"),
    [(httpx.ReadError(""), retries.TRIES), (httpx.ReadTimeout(""), retries.SLOW_TRIES), (httpx.ConnectError(""), 1)],
)
def test_a_question_is_asked_less_often_the_longer_it_takes(error: Exception, tries: int) -> None:
    failure = unreachable("no answer", error)
    assert [next_wait(failures, failure) is not None for failures in range(1, 5)] == [n < tries for n in range(1, 5)]
