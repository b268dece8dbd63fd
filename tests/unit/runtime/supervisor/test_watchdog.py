"""Engines that hang with work in hand, as real processes; and honest ones that are only slow."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from oprel.core.exceptions import BackendStartError
from oprel.runtime.confinement.limits import MIB, EngineLimits
from oprel.runtime.engine import EngineState
from oprel.runtime.exits import Reason
from oprel.runtime.supervisor.process import EngineProcess
from oprel.runtime.supervisor.watchdog import WatchedWork
from tests.conftest import DEADLINE, alive, eventually

STALL = 3.0  # s; an engine that stands still has a third of it, which a busy machine must not use up


async def answer(one: EngineProcess) -> list[str]:
    """The texts of a streamed answer, its progress told as the daemon tells it."""
    texts: list[str] = []
    body = {"prompt": "hello", "return_progress": True}
    with one.at_work(about_tokens=5) as work:
        async with one.http.stream("/v1/completions", orjson.dumps(body)) as response:
            rest = b""
            while data := await response.read():
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    if line.startswith(b"data: {"):
                        tell(work, orjson.loads(line[6:]), texts)
    return texts


def tell(work: WatchedWork, event: dict, texts: list[str]) -> None:
    if progress := event.get("prompt_progress"):
        work.prefilled(progress["processed"], progress["total"])
        return
    work.moved()
    texts += [choice["text"] for choice in event["choices"] if choice["text"]]


async def hung(one: EngineProcess) -> str:
    """Why it was killed with an answer in hand."""
    await one.ensure_ready()
    await answer(one)
    ended = await one.why_it_ended(within=DEADLINE)
    assert ended and ended.reason is Reason.HUNG
    assert one.state is EngineState.CRASHED
    return ended.detail


@pytest.mark.parametrize("fault", [{"hang_at_token": 2}, {"prefill_tokens": 9, "hang_at_prefill": 0}])
async def test_an_engine_that_stands_still_is_killed(engine, ends, fault: dict):
    assert "stood still" in await hung(engine(fault, stall_timeout=STALL))
    assert [told.exit.reason for told in ends] == [Reason.HUNG]


async def test_an_engine_that_spins_with_green_health_is_killed(engine):
    one = engine({"spin_at_token": 2}, stall_timeout=STALL)
    assert "used CPU time" in await hung(one)


async def test_an_engine_that_spins_for_a_client_that_has_left_is_killed(engine):
    one = engine({"spin_at_token": 1}, stall_timeout=STALL)
    await one.ensure_ready()
    with one.at_work(about_tokens=5):
        async with one.http.stream("/v1/completions", orjson.dumps({"prompt": "hello"})) as response:
            assert await response.read()
    ended = await one.why_it_ended(within=DEADLINE)
    assert ended and ended.reason is Reason.HUNG and "after its clients had left" in ended.detail


async def test_a_stopped_engine_is_killed(engine):
    one = engine({"tokens": 10_000, "token_delay": 0.01}, stall_timeout=STALL)
    await one.ensure_ready()
    assert one.pid
    asyncio.get_running_loop().call_later(0.3, os.kill, one.pid, signal.SIGSTOP)
    assert "stood still" in await hung(one)


async def test_its_children_are_killed_with_it(engine, tmp_path: Path):
    pid_file = tmp_path / "child"
    await hung(engine({"hang_at_token": 0, "child_pid_file": str(pid_file)}, stall_timeout=STALL))
    await asyncio.to_thread(eventually, lambda: not alive(int(pid_file.read_text())))


async def test_an_honest_prefill_of_many_limits_is_waited_for(engine):
    """Its batches are short enough to be seen as progress; its whole prompt takes five times the limit."""
    faults = {"prefill_tokens": 20, "prefill_batch": 1, "prefill_seconds": STALL / 12}
    one = engine(faults, stall_timeout=STALL)
    await one.ensure_ready()
    assert await answer(one) == [" t0", " t1", " t2", " t3", " t4"]


@pytest.fixture
def rivals() -> Iterator[Callable[[EngineProcess, int], None]]:
    """Start so many processes that compete with an engine for one CPU, and use all that they get of it."""
    started: list[subprocess.Popen[bytes]] = []

    def start(one: EngineProcess, count: int) -> None:
        assert one.pid
        cpu = {max(os.sched_getaffinity(0))}
        started.extend(
            # Sessions of their own, as the engine has one: the kernel shares a CPU between sessions first.
            subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"], start_new_session=True)
            for _ in range(count)
        )
        for pid in [one.pid, *(rival.pid for rival in started)]:
            os.sched_setaffinity(pid, cpu)

    yield start
    for rival in started:
        rival.kill()
        rival.wait()


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="pins processes to a CPU")


@on_linux
async def test_an_honest_engine_that_other_programs_slow_down_is_left_alone(engine, rivals):
    """Its steps take several times as long as the limit, nearly all of it in the queue for a CPU."""
    one = engine({"prefill_tokens": 2, "prefill_batch": 1, "prefill_cpu": 0.3}, stall_timeout=1.0)
    await one.ensure_ready()
    rivals(one, 9)
    assert await answer(one) == [" t0", " t1", " t2", " t3", " t4"]


@on_linux
async def test_an_engine_that_spins_beside_other_programs_is_killed(engine, rivals):
    one = engine({"spin_at_token": 2}, stall_timeout=0.6)
    await one.ensure_ready()
    rivals(one, 2)
    assert "used CPU time" in await hung(one)


@on_linux
async def test_an_engine_that_stands_still_beside_other_programs_is_killed(engine, rivals):
    one = engine({"hang_at_token": 2}, stall_timeout=STALL)
    await one.ensure_ready()
    rivals(one, 4)
    assert "stood still" in await hung(one)


async def test_an_honest_engine_under_a_limiter_of_its_cpu_time_is_left_alone(engine):
    """It is stopped and continued all the time, as `cpulimit` does it."""
    one = engine({"prefill_tokens": 1, "prefill_batch": 1, "prefill_cpu": 0.3}, stall_timeout=1.0)
    await one.ensure_ready()

    async def limit() -> None:
        while one.pid:
            os.kill(one.pid, signal.SIGSTOP)
            await asyncio.sleep(0.08)
            os.kill(one.pid, signal.SIGCONT)
            await asyncio.sleep(0.02)

    limiter = asyncio.create_task(limit())
    try:
        assert await answer(one) == [" t0", " t1", " t2", " t3", " t4"]
    finally:
        limiter.cancel()


async def test_an_engine_without_work_may_be_stopped_for_long(engine):
    one = engine(stall_timeout=STALL)
    await one.ensure_ready()
    await answer(one)
    assert one.pid
    os.kill(one.pid, signal.SIGSTOP)
    assert await one.why_it_ended(within=STALL / 2) is None
    os.kill(one.pid, signal.SIGCONT)
    assert await answer(one)


async def test_a_client_that_takes_its_time_does_no_harm(engine):
    one = engine(stall_timeout=0.1)
    await one.ensure_ready()
    with one.at_work(about_tokens=5) as work:
        work.moved()
        work.pause()
        assert await one.why_it_ended(within=0.5) is None


async def test_an_engine_that_refuses_everything_is_killed(engine):
    one = engine({"status": 500})
    await one.ensure_ready()
    for _ in range(5):
        with one.at_work(about_tokens=5) as work:
            assert (await one.http.post("/v1/completions", b"{}")).status == 500
            if why := work.refused():
                work.kill_as(why)
    ended = await one.why_it_ended(within=DEADLINE)
    assert ended and ended.reason is Reason.HUNG and "refused 5" in ended.detail


LIMITS = EngineLimits(reserved=64 * MIB, memory=128 * MIB)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the memory of other processes may not be told")
@pytest.mark.parametrize("stays", [True, False], ids=["waiting client", "client that left"])
async def test_an_engine_that_outgrows_its_plan_is_killed(engine, ends, stays: bool):
    one = engine({"fill_at_token": 1}, limits=LIMITS)
    await one.ensure_ready()
    if stays:
        await answer(one)
    else:
        with one.at_work(about_tokens=5):
            async with one.http.stream("/v1/completions", orjson.dumps({"prompt": "hello"})) as response:
                await response.read()
    ended = await one.why_it_ended(within=DEADLINE)
    assert ended and ended.reason is Reason.OUTGREW_PLAN and "67 MB were reserved" in ended.detail
    assert [told.exit.reason for told in ends] == [Reason.OUTGREW_PLAN]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the memory of other processes may not be told")
async def test_one_that_outgrows_its_plan_while_it_loads_does_not_start(engine, ends):
    one = engine({"filling_load": 3600.0}, limits=EngineLimits(reserved=MIB, memory=32 * MIB))
    with pytest.raises(BackendStartError, match="did not start: it took .* and 1.0 MB were reserved for it"):
        await one.ensure_ready()
    assert [told.exit.reason for told in ends] == [Reason.OUTGREW_PLAN] and one.starts == 1


async def test_what_hung_is_replaced_when_it_is_asked_for(engine):
    one = engine({"hang_at_token": 0}, stall_timeout=STALL)
    await hung(one)
    await one.ensure_ready()
    assert one.starts == 2
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await one.http.post("/v1/completions", b"{}")


async def test_work_of_an_engine_that_is_gone_does_not_count_for_the_next(engine):
    one = engine(stall_timeout=0.1)
    await one.ensure_ready()
    with one.at_work(about_tokens=5):
        assert one.pid
        os.kill(one.pid, signal.SIGKILL)
        await one.why_it_ended(within=DEADLINE)
        await one.ensure_ready()
        assert await one.why_it_ended(within=0.5) is None
