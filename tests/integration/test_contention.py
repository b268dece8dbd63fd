"""Requests, engines and memory against each other, in one process: nobody waits for ever, is blamed or forgotten."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from oprel.core.completion import CompletionRequest, LoadOptions
from oprel.core.config import Config
from oprel.core.exceptions import (
    BackendError,
    BusyError,
    InsufficientMemoryError,
    OprelError,
    QuarantinedError,
    ShuttingDownError,
)
from oprel.core.home import prepare_home
from oprel.core.models.manifests import Manifest, Manifests
from oprel.runtime.binaries.engine_binaries import EngineBinaries, find_binaries
from oprel.server.inference import completions, embeddings
from oprel.server.inference.completions import Done
from oprel.server.inference.embeddings import EmbedJob
from oprel.server.inference.jobs import Job
from oprel.server.models.installed_model import InstalledModel
from oprel.server.models.library import Library
from oprel.server.pool import planning
from oprel.server.pool.manager import ModelManager
from oprel.telemetry.hardware.devices import CPU, Memory
from oprel.telemetry.hardware.probing import Hardware
from oprel.telemetry.memory.process import NATIVE
from tests.conftest import DEADLINE
from tests.fixtures.fake_engine import install, told
from tests.fixtures.gguf_factory import Shape, write_tiny_gguf
from tests.fixtures.limits import megabytes_for

pytestmark = pytest.mark.long

Result = TypeVar("Result")

CRASH = told(die_at_token=1, dies_of="SIGSEGV")


class Office:
    """A manager in this process, on engines that misbehave, and models that it knows."""

    def __init__(self, manager: ModelManager, library: Library) -> None:
        self.manager = manager
        self._library = library

    async def model(self, name: str) -> InstalledModel:
        return await self._library.find(name, may_use_paths=False)

    async def ask(self, name: str, prompt: str, n: int = 1, began: asyncio.Event | None = None) -> str:
        job = Job(await self.model(name), CompletionRequest(prompt, n=n))
        async for piece in completions.run(self.manager, job):
            if began:
                began.set()
            if isinstance(piece, Done):
                return piece.text
        raise AssertionError("no end")

    def starts(self) -> int:
        return sum(one.engine.starts for one in self.manager.loaded)


Opened = Callable[..., contextlib.AbstractAsyncContextManager[Office]]


@pytest.fixture
def office(config: Config, home: Path) -> Opened:
    for name in "one", "two":
        weights = write_tiny_gguf(home / f"{name}.gguf", shape=Shape(width=64, heads=2, context=8192))
        Manifests(config.models_dir).put(Manifest(name=f"{name}:latest", weights=weights))
    Manifests(config.models_dir).put(Manifest(name="alias:latest", weights=home / "one.gguf"))

    @contextlib.asynccontextmanager
    async def opened(
        faults: dict[str, object] | None = None, *, engines: float = 0, **changes: object
    ) -> AsyncIterator[Office]:
        """`engines`: for how many the memory suffices; 0 for many."""
        engine = str(install(home / "engine", **(faults or {})))
        limit = megabytes_for(home / "one.gguf", engines=engines, context=8192, program=NATIVE)
        own = config.replace(engine_path=engine, default_max_memory_mb=limit, **changes)
        prepare_home(own)
        manager = ModelManager(own, EngineBinaries(find_binaries(own)), own.run_dir)
        try:
            yield Office(manager, Library(own))
        finally:
            await manager.close()

    return opened


async def until(happened: Callable[[], object], within: float = DEADLINE) -> None:
    limit = time.monotonic() + within
    while not happened():
        assert time.monotonic() < limit, f"not within {within} s: {happened}"
        await asyncio.sleep(0.01)


async def soon(work: Awaitable[Result], within: float = DEADLINE) -> Result:
    return await asyncio.wait_for(work, within)


def test_an_engine_whose_client_left_while_it_loaded_makes_room_once_it_is_ready(office: Opened) -> None:
    async def scenario() -> None:
        async with office({"silent_load": 1.0}, engines=1.6, keep_alive="-1") as it:
            left = asyncio.create_task(it.ask("one", "hello"))
            await until(lambda: [one.engine.is_loading for one in it.manager.loaded] == [True])
            left.cancel()
            await soon(it.ask("two", "hello"))

    asyncio.run(scenario())


def test_an_engine_that_failed_after_its_client_left_makes_room(office: Opened) -> None:
    async def scenario() -> None:
        async with office({"silent_load": 0.5}, engines=1.6, keep_alive="-1") as it:
            left = asyncio.create_task(it.ask("one", "hello"))
            await until(lambda: any(one.engine.snapshot().pid for one in it.manager.loaded))
            left.cancel()
            other = asyncio.create_task(it.ask("two", "hello"))
            await until(lambda: it.manager.admission.waiting)
            it.manager.kill()
            await soon(other)

    asyncio.run(scenario())


def test_what_other_programs_leave_is_looked_at_anew_before_each_load(
    office: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(size: int) -> None:
        monkeypatch.setattr(
            planning, "probe", lambda: Hardware(CPU(), Memory(total_bytes=64 * 1024**3, available_bytes=size))
        )

    async def scenario() -> None:
        async with office(keep_alive="-1") as it:
            leave(1024**2)
            with pytest.raises(InsufficientMemoryError):
                await it.ask("one", "hello")
            leave(1024**3)
            await it.ask("one", "hello")
            alone = it.manager.admission.budget.host
            assert alone == 7 * 1024**3 // 8
            leave(1024**2)  # the engine that runs needs more than that and all that it holds
            with pytest.raises(InsufficientMemoryError):
                await it.ask("two", "hello")
            assert 0 < it.manager.admission.budget.host < alone and it.starts() == 1
            leave(512 * 1024**2)
            await it.ask("two", "hello")
            assert it.starts() == 2

    asyncio.run(scenario())


def test_a_pinned_name_pins_the_engine_of_another_name_it_joins(office: Opened) -> None:
    async def scenario() -> None:
        async with office(engines=1.6, models='{"alias:latest": {"pin": "on"}}') as it:
            await it.ask("one", "hello")
            await it.ask("alias", "hello")
            [loaded] = it.manager.loaded
            assert loaded.pinned

    asyncio.run(scenario())


def test_a_locked_name_is_locked_in_the_engine_of_another_name(office: Opened) -> None:
    async def scenario() -> None:
        async with office(models='{"alias:latest": {"keep_alive_locked": "on"}}') as it:
            await it.ask("one", "hello")
            async with it.manager.lease(await it.model("alias"), LoadOptions(), 0.0):
                pass
            [loaded] = it.manager.loaded
            assert loaded.lifetime.keep_alive > 0

    asyncio.run(scenario())


def test_a_context_that_is_asked_for_is_not_the_shorter_one_of_an_engine_short_of_memory(office: Opened) -> None:
    async def scenario() -> None:
        limit = 2048 + 512  # the fake's units: 2048 tokens in q8_0, and a batch
        async with office({"memory_limit": limit}, parallel=1) as it:
            async with it.manager.lease(await it.model("one"), LoadOptions()) as lease:
                assert lease.num_ctx == 2048
            with pytest.raises(OprelError):
                async with it.manager.lease(await it.model("one"), LoadOptions(num_ctx=4096)) as lease:
                    raise AssertionError(f"asked for 4096, got {lease.num_ctx}")

    asyncio.run(scenario())


def test_one_crash_is_one_strike_however_many_asked_the_same(office: Opened) -> None:
    async def scenario() -> None:
        async with office() as it:
            same = "innocent " + told(tokens=20, token_delay=0.05)
            crowd = [asyncio.create_task(it.ask("one", same)) for _ in range(3)]
            await until(lambda: [len(one.in_flight) for one in it.manager.loaded] == [3])
            with pytest.raises(QuarantinedError):
                await soon(it.ask("one", "poison " + CRASH))
            assert all(await soon(asyncio.gather(*crowd)))

    asyncio.run(scenario())


def test_who_was_answered_since_is_not_blamed_for_an_older_crash(office: Opened) -> None:
    async def scenario() -> None:
        async with office({}) as it:
            ping = "ping " + told(tokens=20, token_delay=0.05)

            async def pinged_while_it_crashes(number: int) -> asyncio.Task[str]:
                pinging = asyncio.create_task(it.ask("one", ping))
                await until(lambda: [len(one.in_flight) for one in it.manager.loaded] == [1])
                poison = asyncio.create_task(it.ask("one", f"poison {number} " + CRASH))
                starts = it.starts()
                await until(lambda: it.starts() > starts)
                if number == 0:
                    pinging.cancel()  # it has its strike, and its client has had enough
                with pytest.raises(QuarantinedError):
                    await soon(poison)
                return pinging

            await pinged_while_it_crashes(0)
            assert await soon(it.ask("one", ping))
            assert await soon(await pinged_while_it_crashes(1))

    asyncio.run(scenario())


def test_copies_of_a_poison_do_not_kill_one_engine_each(office: Opened) -> None:
    async def scenario() -> None:
        async with office(parallel=2) as it:
            crowd = [it.ask("one", "poison " + CRASH) for _ in range(8)]
            results = await soon(asyncio.gather(*crowd, return_exceptions=True), 60)
            assert {type(one) for one in results} == {QuarantinedError}, results
            assert it.starts() <= 3

    asyncio.run(scenario())


def test_what_cannot_go_on_says_so_at_once(office: Opened) -> None:
    """Of several answers that have begun none can go on: nobody waits for the others' end to say that."""

    async def scenario() -> None:
        async with office({}, parallel=4) as it:
            slow = asyncio.create_task(it.ask("one", "slow " + told(tokens=100, token_delay=0.1)))
            await until(lambda: [len(one.in_flight) for one in it.manager.loaded] == [1])
            began, words = asyncio.Event(), "several " + told(tokens=1000, token_delay=0.1)
            several = asyncio.create_task(it.ask("one", words, n=2, began=began))
            await soon(began.wait())
            poison = asyncio.create_task(it.ask("one", "poison " + CRASH))
            with pytest.raises(BackendError, match="died while answering"):
                await soon(several, 5)
            for one in slow, poison:
                one.cancel()
            await asyncio.gather(slow, poison, return_exceptions=True)

    asyncio.run(scenario())


def test_a_preload_replaces_nobody(office: Opened) -> None:
    async def scenario() -> None:
        async with office() as it:
            await it.ask("one", "hello")
            model, before = await it.model("one"), it.manager.loaded
            with pytest.raises(BusyError):
                async with it.manager.lease(model, LoadOptions(use_mmap=False), slots=0, makes_room=False):
                    pass
            assert it.manager.loaded == before

    asyncio.run(scenario())


def test_an_engine_that_finds_no_memory_again_and_again_is_left_alone_for_a_while(
    office: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    """Though each time a neighbour could be stopped for it."""

    async def scenario() -> None:
        async with office(
            {"memory_limit": 3000}, parallel=1, kv_cache_type="q8_0", batch_size=64, n_gpu_layers=0
        ) as it:
            for _ in range(9):
                async with it.manager.lease(await it.model("two"), LoadOptions(num_ctx=256)):
                    pass
                with contextlib.suppress(BackendError, TimeoutError):
                    async with asyncio.timeout(2), it.manager.lease(await it.model("one"), LoadOptions(num_ctx=4096)):
                        pass

    caplog.set_level("INFO")
    asyncio.run(scenario())
    assert len([line for line in caplog.messages if "one:latest" in line and "-> starting" in line]) <= 6


def test_inputs_that_were_in_the_engine_with_a_deadly_one_are_embedded(office: Opened, home: Path) -> None:
    async def scenario() -> None:
        async with office() as it:
            program = home / "engine" / "llama-server"
            embeds = 'elif self.path == "/v1/embeddings":\n'
            slow = "            time.sleep(self.faults.token_delay)\n"
            dies = slow + "            if self.faults.die_at_request:\n                self._die()\n"
            program.write_text(program.read_text().replace(embeds, embeds + dies))
            model = await it.model("one")

            async def embed(text: str, **faults: object) -> object:
                return await embeddings.embed(it.manager, EmbedJob(model, (f"{text} {told(**faults)}",)))

            innocent = [asyncio.create_task(embed(f"innocent {number}", token_delay=1.0)) for number in range(2)]
            await until(lambda: [one.slots.in_use for one in it.manager.loaded] == [2])
            with pytest.raises(QuarantinedError):
                await soon(embed("poison", token_delay=0.1, die_at_request=True, dies_of="SIGSEGV"))
            await soon(asyncio.gather(*innocent))

    asyncio.run(scenario())


def test_a_client_that_does_not_read_holds_up_nobody_after_a_crash(office: Opened) -> None:
    async def scenario() -> None:
        async with office() as it:
            job = Job(await it.model("one"), CompletionRequest("slow reader " + told(tokens=50)))
            async with contextlib.aclosing(completions.run(it.manager, job)) as unread:
                await anext(unread)
                with pytest.raises(QuarantinedError):
                    await soon(it.ask("one", "poison " + CRASH), 5)
                assert await soon(it.ask("one", "hello"), 5)

    asyncio.run(scenario())


def test_who_waits_for_memory_is_told_at_once_that_the_daemon_ends(office: Opened) -> None:
    async def scenario() -> None:
        async with office({"silent_load": 0.2}, engines=1.6) as it:
            first = asyncio.create_task(it.ask("one", "slow " + told(tokens=100, token_delay=0.1)))
            await until(lambda: [len(one.in_flight) for one in it.manager.loaded] == [1])
            second = asyncio.create_task(it.ask("two", "hello"))
            await until(lambda: it.manager.admission.waiting)
            drained = asyncio.create_task(it.manager.drain())
            with pytest.raises(ShuttingDownError):
                await soon(second, 3)
            for one in first, drained:
                one.cancel()
            await asyncio.gather(first, drained, return_exceptions=True)

    asyncio.run(scenario())


def test_a_preload_that_runs_out_of_memory_stops_nobody(office: Opened) -> None:
    async def scenario() -> None:
        async with office(
            {"memory_limit": 3000}, parallel=1, kv_cache_type="q8_0", batch_size=64, n_gpu_layers=0
        ) as it:
            async with it.manager.lease(await it.model("two"), LoadOptions(num_ctx=256)):
                pass
            with pytest.raises(BackendError):
                model, load = await it.model("one"), LoadOptions(num_ctx=4096)
                async with it.manager.lease(model, load, slots=0, makes_room=False):
                    pass
            assert "two:latest" in [one.model.name for one in it.manager.loaded]

    asyncio.run(scenario())


def test_who_waits_for_memory_that_is_pinned_meanwhile_is_refused(office: Opened) -> None:
    async def scenario() -> None:
        async with office(engines=1.6, models='{"alias:latest": {"pin": "on"}}') as it:
            slow = asyncio.create_task(it.ask("one", "slow " + told(tokens=100, token_delay=0.1)))
            await until(lambda: [len(one.in_flight) for one in it.manager.loaded] == [1])
            waiting = asyncio.create_task(it.ask("two", "hello"))
            await until(lambda: it.manager.admission.waiting)
            pinning = asyncio.create_task(it.ask("alias", "hello"))
            with pytest.raises(InsufficientMemoryError, match="pinned models take"):
                await soon(waiting, 5)
            slow.cancel()
            await asyncio.gather(slow, pinning, return_exceptions=True)

    asyncio.run(scenario())
