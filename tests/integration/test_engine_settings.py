"""What the planner decides reaches the process of the engine, except where the user decided."""

from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from oprel.core.completion import CompletionRequest, LoadOptions, Sampling
from oprel.core.config import Config
from oprel.core.models.manifests import Manifest
from oprel.runtime.backends.engines.llama_cpp import SPINS
from oprel.server.inference import completions
from oprel.server.inference.jobs import Job
from oprel.server.pool.engine_status import EngineStatus
from tests.fixtures.daemons import daemon_parts
from tests.fixtures.gguf_factory import write_tiny_gguf


class Started(NamedTuple):
    """The engine of a model that is too small for a second thread."""

    status: EngineStatus
    command: list[str]
    environment: dict[str, str]

    def value(self, flag: str) -> str:
        return self.command[self.command.index(flag) + 1]


async def started(home: Path, load: LoadOptions) -> Started:
    manifest = Manifest(name="small", weights=write_tiny_gguf(home / "small.gguf"))
    async with daemon_parts(Config(home=str(home), keep_alive="-1"), manifest) as state:
        model = await state.library.find("small", may_use_paths=True)
        job = Job(model, CompletionRequest("hello", Sampling(num_predict=1)), load)
        _ = [piece async for piece in completions.run(state.manager, job)]
        (status,) = state.manager.statuses()
        process = psutil.Process(status.snapshot.pid)
        return Started(status, process.cmdline(), process.environ())


async def test_a_small_model_gets_one_thread_eight_slots_and_short_loops(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    engine = await started(home, LoadOptions())
    assert (engine.value("--threads"), engine.value("--parallel")) == ("1", "8")
    assert engine.environment["GOMP_SPINCOUNT"] == str(SPINS)
    assert (engine.status.threads.single, engine.status.slots) == (1, 8)


async def test_what_the_user_decided_stays(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    engine = await started(home, LoadOptions(num_thread=2))
    assert engine.value("--threads") == "2" and "--threads-batch" not in engine.command
    assert engine.environment["GOMP_SPINCOUNT"] == "7"
    assert engine.status.reasons[0] == "2 threads, as requested"
