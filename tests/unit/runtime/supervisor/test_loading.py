"""When a starting engine is asked whether it is healthy."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from oprel.runtime.supervisor import loading
from oprel.runtime.supervisor.child import ChildProcess, RunDir, start_child
from oprel.runtime.supervisor.log import EngineLog
from tests.conftest import DEADLINE


@pytest.fixture
async def child(tmp_path: Path) -> AsyncIterator[ChildProcess]:
    """A process that says nothing and does not end."""
    command, log = ["sleep", "600"], EngineLog("silent")
    process = await start_child(command, RunDir(tmp_path / "s"), log, on_exit=lambda *_: None, clock=time.monotonic)
    yield process
    await process.kill()


@pytest.mark.parametrize("line_at", [0, 1])
async def test_the_line_that_it_listens_ends_every_wait(
    child: ChildProcess, monkeypatch: pytest.MonkeyPatch, line_at: int
) -> None:
    for pause in ("QUIET_START", "FIRST_INTERVAL", "LONGEST_INTERVAL"):
        monkeypatch.setattr(loading, pause, 1000 * DEADLINE if line_at == 0 or pause != "QUIET_START" else 0.0)
    asked = []

    async def is_healthy() -> bool:
        asked.append(child.log.listening.is_set())
        if len(asked) == line_at:  # while it is asked, so that this answer is too old
            child.log.note("main: server is listening on unix:/s")
        return len(asked) == 3

    if line_at == 0:
        child.log.note("main: server is listening on unix:/s")
    await loading.until_ready(child, is_healthy, DEADLINE, time.monotonic)
    assert asked == [line_at == 0, True, True]
