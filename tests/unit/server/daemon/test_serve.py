"""The daemon's server: it sleeps until there is something to do."""

import asyncio
import signal
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import cast

import pytest
import uvicorn

from oprel.core.config import Config
from oprel.runtime.binaries.engine_binaries import EngineBinaries, find_binaries
from oprel.server.app import assemble
from oprel.server.daemon.serve import DaemonServer, DatedState
from oprel.server.daemon.service_manager import ServiceManager
from oprel.telemetry.hardware import bandwidth
from oprel.telemetry.hardware.probing import probe
from tests.conftest import DEADLINE, RATES


async def test_an_idle_daemon_has_no_timer_and_ends_at_a_signal(tmp_path: Path) -> None:
    config = Config(home=str(tmp_path))
    bandwidth.remember(tmp_path, probe(), RATES)  # else it would look for a moment to measure them
    state = assemble(config, EngineBinaries(find_binaries(config)), tmp_path)
    server = DaemonServer(state, ServiceManager({}))
    running = asyncio.ensure_future(server.main_loop())
    for _ in range(50):
        await asyncio.sleep(0)
    loop = cast("asyncio.BaseEventLoop", asyncio.get_running_loop())
    assert not running.done()
    assert loop._scheduled == []  # type: ignore[attr-defined]
    server.handle_exit(signal.SIGTERM, None)
    await asyncio.wait_for(running, DEADLINE)
    await state.manager.close()


def test_answers_have_the_second_in_which_they_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    config = uvicorn.Config(lambda: None)
    config.load()
    state, moments = DatedState(config), []
    for moment in (1000.0, 1000.9, 1001.0, 999.0):
        monkeypatch.setattr(time, "time", lambda moment=moment: moment)
        headers = dict(state.default_headers)
        assert headers[b"server"] == b"uvicorn"
        moments.append(parsedate_to_datetime(headers[b"date"].decode()).timestamp())
    assert moments == [1000, 1000, 1001, 999]
