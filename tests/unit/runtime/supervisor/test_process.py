"""The life of one engine process, with a real process that misbehaves on demand."""

import asyncio
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from oprel.core.exceptions import BackendStartError, NoEngineError, ShuttingDownError
from oprel.runtime.engine import EngineState
from oprel.runtime.exits import Reason
from oprel.runtime.http import ConnectionBroken
from oprel.runtime.supervisor.child import Ended, RunDir
from oprel.runtime.supervisor.process import TRANSITIONS
from tests.conftest import DEADLINE, alive, eventually
from tests.fixtures.fake_engine import install


def starts(journal: Path) -> int:
    return journal.read_text().count("start")


async def test_a_ready_engine_answers(engine):
    one = engine()
    await one.ensure_ready()
    assert one.state is EngineState.READY
    assert await one.http.get_status("/health") == 200


async def test_concurrent_callers_share_one_start(engine, tmp_path: Path):
    journal = tmp_path / "journal"
    one = engine({"journal": str(journal), "silent_load": 0.2})
    await asyncio.gather(*(one.ensure_ready() for _ in range(20)))
    assert starts(journal) == 1


async def test_a_caller_that_leaves_does_not_end_the_start_for_others(engine):
    one = engine({"silent_load": 0.3})
    first, second = (asyncio.create_task(one.ensure_ready()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert one.state is EngineState.READY


async def test_callers_that_start_it_again_do_not_disturb_each_other(engine):
    """The first of them begins the next start before the other one has seen how the last one ended."""
    failing = engine({"exit_at_start": 1})

    async def start_twice() -> None:
        for _ in range(2):
            with pytest.raises(BackendStartError):
                await failing.ensure_ready()

    await asyncio.gather(start_twice(), start_twice())
    assert failing.starts == 2


async def test_stop_is_polite_first(engine):
    one = engine()
    await one.ensure_ready()
    assert await one.stop() is signal.SIGINT
    assert (one.state, one.pid) == (EngineState.STOPPED, None)


async def test_stop_goes_on_to_what_cannot_be_ignored(engine, monkeypatch: pytest.MonkeyPatch):
    steps = ((signal.SIGINT, 0.1), (signal.SIGTERM, 0.1), (signal.SIGKILL, 5.0))
    monkeypatch.setattr("oprel.runtime.supervisor.child.STOP_STEPS", steps)
    one = engine({"ignores": ("SIGINT", "SIGTERM")})
    await one.ensure_ready()
    assert await one.stop() is signal.SIGKILL


async def test_stopping_while_it_starts_leaves_no_process(engine, tmp_path: Path):
    journal = tmp_path / "journal"
    one = engine({"journal": str(journal), "never_ready": True})
    starting = asyncio.create_task(one.ensure_ready())
    await asyncio.to_thread(eventually, journal.exists)
    await one.stop()
    assert one.state is EngineState.STOPPED
    assert not alive(int(journal.read_text().split()[1]))
    with pytest.raises(BackendStartError, match="stopped while it started"):
        await starting


async def test_a_start_cancelled_at_any_moment_leaves_no_process(engine, tmp_path: Path):
    for turns in range(1, 13):
        journal = tmp_path / f"journal-{turns}"
        one = engine({"journal": str(journal), "silent_load": 5})
        starting = asyncio.create_task(one.ensure_ready())
        for _ in range(turns):
            await asyncio.sleep(0)
        await one.stop()
        with pytest.raises(BackendStartError):
            await starting
        assert one.pid is None
        if journal.exists():
            assert not alive(int(journal.read_text().split()[1]))


async def test_an_engine_closed_for_good_starts_no_more(engine):
    one = engine({"silent_load": 0.2})
    starting = asyncio.create_task(one.ensure_ready())
    await asyncio.sleep(0)
    await one.close()
    for asking in (starting, asyncio.create_task(one.ensure_ready())):
        with pytest.raises((ShuttingDownError, BackendStartError)):
            await asking


async def test_an_engine_that_dies_as_it_gets_ready_is_not_ready(engine, monkeypatch: pytest.MonkeyPatch):
    one = engine()

    async def healthy_but_dying() -> bool:
        assert one.pid and one._child
        os.kill(one.pid, signal.SIGKILL)
        await asyncio.wait({one._child.ended})
        return True

    monkeypatch.setattr(one, "_healthy", healthy_but_dying)
    with pytest.raises(BackendStartError, match="SIGKILL"):
        await one.ensure_ready()
    assert one.state is EngineState.CRASHED


async def test_an_engine_can_start_again_after_a_stop(engine):
    one = engine()
    await one.ensure_ready()
    await one.stop()
    await one.ensure_ready()
    assert one.state is EngineState.READY


async def test_who_asks_while_it_stops_gets_a_new_start(engine):
    one = engine()
    await one.ensure_ready()
    stopping = asyncio.create_task(one.stop())
    await asyncio.sleep(0)
    assert one.state.value == "draining"
    await one.ensure_ready()
    assert stopping.done() and one.state.value == "ready"


async def test_a_death_is_noticed_at_once_and_named(engine):
    one = engine()
    await one.ensure_ready()
    assert one.pid
    os.kill(one.pid, signal.SIGSEGV)
    ended = await one.why_it_ended(within=DEADLINE)
    assert ended and ended.detail == "SIGSEGV"
    assert one.state is EngineState.CRASHED


async def test_a_socket_left_by_a_killed_engine_hinders_nobody(engine, folder: Path):
    one = engine()
    (folder / "0.sock").touch()
    await one.ensure_ready()
    assert one.state is EngineState.READY


async def test_an_engine_whose_socket_was_removed_is_replaced(engine, folder: Path, ends):
    one = engine({})
    await one.ensure_ready()
    (folder / "0.sock").unlink()
    with pytest.raises(ConnectionBroken, match="socket is gone"):
        await one.http.get_status("/health")
    ended = await one.why_it_ended(DEADLINE)
    assert (ended.reason, [end.exit.reason for end in ends]) == (Reason.SOCKET_LOST, [Reason.SOCKET_LOST])
    await one.ensure_ready()
    assert await one.http.get_status("/health") == 200


async def test_what_was_removed_of_the_run_folder_is_made_anew_for_the_next_start(engine, folder: Path):
    one = engine({})
    run_dir, text = folder / "run", folder / "run" / "0.jinja"
    one.launch = replace(
        one.launch,
        run_dir=RunDir(run_dir / "0.sock", texts={text: "template"}),
        arguments=lambda flags: ["--host", str(run_dir / "0.sock")],
    )
    for _ in range(2):
        await one.ensure_ready()
        assert (text.read_text(), oct(run_dir.stat().st_mode)[-3:]) == ("template", "700")
        await one.stop()
        assert not text.exists()
        shutil.rmtree(run_dir)


async def test_an_engine_that_could_not_run_is_used_once_it_was_replaced(engine, folder: Path):
    one = engine({"exit_at_start": -signal.SIGILL})
    with pytest.raises(NoEngineError):
        await one.ensure_ready()
    install(folder / "0")
    await one.ensure_ready()
    assert one.state is EngineState.READY


async def test_the_reason_of_a_failed_start_is_told(engine):
    one = engine({"exit_at_start": 1, "log_at_start": "ggml_cuda: failed to allocate 8 GiB: out of memory"})
    with pytest.raises(BackendStartError, match="out of memory") as caught:
        await one.ensure_ready()
    assert "num_ctx" in caught.value.resolution_steps[0]
    assert one.state is EngineState.CRASHED


@pytest.mark.parametrize(
    "fault",
    [
        {"exit_at_start": -signal.SIGILL},
        {"exit_at_start": 127, "log_at_start": "error while loading shared libraries: libfoo.so.1: cannot open"},
    ],
    ids=["SIGILL", "missing library"],
)
async def test_an_engine_that_cannot_run_here_is_set_aside_for_the_next(engine, fault):
    one = engine(fault, {})
    await one.ensure_ready()
    assert one.state is EngineState.READY
    (aside,) = one._binaries.aside
    assert "SIGILL" in aside.reason or "libfoo.so.1" in aside.reason
    assert one.binary is not None and str(one.binary).endswith("/1/llama-server")


async def test_when_every_engine_is_set_aside_all_reasons_are_told(engine):
    one = engine({"exit_at_start": -signal.SIGILL}, {"exit_at_start": -signal.SIGILL})
    with pytest.raises(NoEngineError, match="(?s)SIGILL.*SIGILL"):
        await one.ensure_ready()


async def test_a_load_without_progress_is_given_up(engine):
    one = engine({"never_ready": True}, load_timeout=0.3)
    with pytest.raises(BackendStartError, match="no progress"):
        await one.ensure_ready()
    assert one.pid is None
    assert one.last_exit and one.last_exit.reason is Reason.HUNG


async def test_a_load_that_only_fills_memory_is_waited_for(engine):
    one = engine({"filling_load": 3.0}, load_timeout=1.0)
    await one.ensure_ready()
    assert one.load_seconds > 3.0
    assert one.memory_timeline


async def test_a_slow_load_is_waited_for(engine):
    one = engine({"silent_load": 0.6})
    await one.ensure_ready()
    assert one.state is EngineState.READY


async def test_children_of_a_dead_engine_are_ended_with_it(engine, tmp_path: Path):
    pid_file = tmp_path / "child"
    one = engine({"child_pid_file": str(pid_file)})
    await one.ensure_ready()
    assert one.pid
    os.kill(one.pid, signal.SIGKILL)
    assert await one.why_it_ended(within=DEADLINE)
    await asyncio.to_thread(eventually, lambda: not alive(int(pid_file.read_text())))


def test_every_state_can_be_left_and_reached():
    assert set(TRANSITIONS) == set(EngineState)
    assert all(TRANSITIONS.values())
    assert set().union(*TRANSITIONS.values()) == set(EngineState)


async def test_a_stopped_engine_refuses_connections(engine):
    one = engine()
    await one.ensure_ready()
    client = one.http
    await one.stop()
    with pytest.raises(ConnectionBroken):
        await client.get_status("/health")


async def test_an_engine_tells_of_itself(engine):
    one = engine()
    assert (one.command, one.memory_bytes, one.served_seconds) == ((), 0, 0.0)
    await one.ensure_ready()
    await asyncio.to_thread(eventually, lambda: one.memory_bytes > 1_000_000)
    assert one.command[-1].endswith(".sock")
    assert 0 < one.load_seconds < 20
    assert one.served_seconds > 0
    await one.stop()
    assert one.memory_bytes == 0
    assert one.memory_timeline, "it is known still what it took"


async def test_an_end_that_nobody_asked_for_is_told(engine, ends):
    one = engine({"log_at_start": "hello"})
    await one.ensure_ready()
    pid = one.pid
    os.kill(pid, signal.SIGSEGV)
    await one.why_it_ended(within=DEADLINE)
    (told,) = ends
    assert (told.label, told.pid, told.command, told.exit.detail) == ("fake", pid, one.command, "SIGSEGV")
    assert told.log[0] == "hello"
    assert 0 < told.served <= told.uptime
    await one.ensure_ready()
    await one.stop()
    assert len(ends) == 1, "the second one was asked to stop"


async def test_a_failed_start_is_told_as_well(engine, ends):
    one = engine({"exit_at_start": 3})
    with pytest.raises(BackendStartError):
        await one.ensure_ready()
    assert [told.exit.detail for told in ends] == ["exit status 3"]
    assert ends[0].served == 0


async def test_a_follower_hears_the_log_over_restarts_until_the_engine_is_closed(engine):
    one = engine({"log_at_start": "hello"})
    await one.ensure_ready()
    heard: list[str] = []

    async def listen() -> None:
        async for line in one.follow():
            heard.append(line)

    following = asyncio.create_task(listen())
    await asyncio.to_thread(eventually, lambda: len(heard) == 2)
    await one.stop()
    await one.ensure_ready()
    await one.close()
    await following
    told = [word for line in heard for word in ("hello", "listening") if line.startswith(word)]
    assert told == ["hello", "listening"] * 2


async def test_an_engine_on_a_tether_starts_and_stops_as_any_other(engine, monkeypatch: pytest.MonkeyPatch, tmp_path):
    """As on a system whose kernel ends no child with its parent."""
    monkeypatch.setattr("oprel.runtime.supervisor.processes.TETHERED", True)
    journal = tmp_path / "journal"
    one = engine({"journal": str(journal)})
    await one.ensure_ready()
    assert await one.stop() is signal.SIGINT
    await one.ensure_ready()
    os.kill(int(journal.read_text().split()[-1]), signal.SIGSEGV)
    ended = await one.why_it_ended(within=DEADLINE)
    assert ended and ended.detail == "SIGSEGV"


async def sweep(folder: Path) -> int:
    """Remove the record of the engine that starts, as a cleaner of the run folder does; returns its process ID."""
    records = folder / "engines"
    await asyncio.to_thread(eventually, lambda: records.exists() and any(records.iterdir()))
    pid = int(next(records.iterdir()).stem)
    shutil.rmtree(records)
    return pid


async def test_a_start_whose_files_are_removed_is_repeated(engine, folder: Path, ends: list[Ended]):
    one = engine({"silent_load": 0.5})
    ready = asyncio.create_task(one.ensure_ready())
    os.kill(await sweep(folder), signal.SIGKILL)  # it could not bind its socket
    await ready
    assert one.state is EngineState.READY and one.starts == 2 and not ends


async def test_an_engine_whose_socket_is_removed_before_it_is_ready_is_replaced(engine, folder: Path):
    one = engine({"never_ready": True}, load_timeout=1.0)
    ready = asyncio.create_task(one.ensure_ready())
    await asyncio.to_thread(eventually, lambda: any("listening" in line for line in one.log))
    first = await sweep(folder)
    await asyncio.to_thread(eventually, lambda: one.starts == 2)
    assert not alive(first)
    with pytest.raises(BackendStartError):
        await ready
