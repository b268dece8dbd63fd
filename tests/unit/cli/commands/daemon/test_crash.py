"""A crash as a person reads it."""

from oprel.cli.commands.daemon.crash import LINES, POINTS, described, thinned
from oprel.wire.daemon import Crash, CrashedRequest, EngineBuild

CRASH = Crash(
    id="20261121T041500.000Z-1234-tiny",
    time="2026-11-21T04:15:00.000000Z",
    model="tiny:latest",
    reason="crash_signal",
    detail="SIGSEGV",
    uptime_seconds=60.04,
    served_seconds=50.0,
    advice="Ask again.",
    pid=1234,
    starts=2,
    engine=EngineBuild(name="/opt/llama-server", size=12_000_000, modified_at="2026-01-01T00:00:00.000000Z"),
    command=["/opt/llama-server", "--model", "tiny.gguf"],
    requests=[CrashedRequest(hash="0123456789abcdef", characters=14, max_tokens=99, seconds=1.5)],
    memory=[(1.0, 1_000_000), (2.0, 2_000_000)],
    log=[f"line {number}" for number in range(30)],
)


def test_the_reason_and_the_advice_come_first() -> None:
    assert list(described(CRASH))[:2] == ["tiny:latest: crash_signal: SIGSEGV", "  Ask again."]


def test_what_matters_is_told() -> None:
    text = "\n".join(described(CRASH))
    assert "pid 1234, start 2, ran 60.0 s, 50.0 s of them ready" in text
    assert "/opt/llama-server (12 MB, 2026-01-01T00:00:00.000000Z)" in text
    assert "/opt/llama-server --model tiny.gguf" in text
    assert "2.0 s  2.0 MB" in text
    assert "0123456789abcdef: 14 characters, at most 99 tokens, running for 1.5 s" in text


def test_only_the_last_lines_are_shown() -> None:
    lines = [line.strip() for line in described(CRASH)]
    assert lines[-LINES:] == CRASH.log[-LINES:]
    assert "line 9" not in lines


def test_what_there_is_not_has_no_heading() -> None:
    nothing = CRASH.model_copy(update={"requests": [], "memory": [], "log": [], "served_seconds": 0.0})
    text = "\n".join(described(nothing))
    assert "never ready" in text
    assert all(word not in text for word in ("Memory", "Requests", "Last lines"))


def test_a_prompt_that_was_kept_is_shown() -> None:
    asked = CRASH.requests[0].model_copy(update={"prompt": "why?", "max_tokens": None})
    text = "\n".join(described(CRASH.model_copy(update={"requests": [asked]})))
    assert "14 characters, no token limit, running for 1.5 s: why?" in text


def test_many_points_become_a_few() -> None:
    points = [(float(at), at) for at in range(120)]
    few = thinned(points)
    assert len(few) == POINTS
    assert (few[0], few[-1]) == (points[0], points[-1])
    assert few == sorted(few)
    assert thinned(points[:3]) == points[:3]
