"""What `/api/ps` and `oprel ps` say about the memory of engines, on machines that a file describes."""

from dataclasses import replace

import pytest

from oprel.cli.commands.daemon import ps
from oprel.core.completion import LoadOptions
from oprel.runtime.binaries.engine_binaries import Binary
from oprel.server.api.common import encode
from oprel.server.pool.engine_status import EngineStatus
from oprel.server.pool.loaded_model import NO_GPU
from oprel.telemetry.recommender.placement import PlacementKind
from tests.fixtures.known_models import known_header
from tests.fixtures.memory_engine import MemoryEngine
from tests.fixtures.pool import LLAMA_SERVER, MIB, WHEEL, MakePool, MemoryPool, PoolOptions, installed

LLAMA = installed("llama", known_header("llama3.1-8b"))
MEASURED = 700 * MIB


def whole(machine: str, binary: Binary = LLAMA_SERVER) -> PoolOptions:
    """All that the machine has is for models."""
    return {"hardware": machine, "binary": binary, "default_max_memory_mb": 0, "ctx_size": 8192, "parallel": 1}


@pytest.fixture
def on(make_pool: MakePool) -> "On":
    return On(make_pool)


class On:
    """Llama 3.1 8B, loaded on a machine."""

    def __init__(self, make_pool: MakePool) -> None:
        self._make_pool = make_pool

    async def __call__(self, machine: str, *, num_gpu: int | None = None, measured: int = 0) -> EngineStatus:
        self.pool = self._make_pool(**whole(machine))
        await self.pool.load(LLAMA, LoadOptions(num_gpu=num_gpu))
        self.pool.engines[0].memory_bytes = measured
        return self.pool.status("llama")

    @property
    def kind(self) -> PlacementKind:
        return self.pool.loaded("llama").decision.plan.solution.placement.kind


def processor(status: EngineStatus) -> str:
    """As `oprel ps` shows it."""
    return ps.processor(status.gpu_share)


async def test_a_model_on_the_gpu_is_all_on_the_gpu_beside_what_its_process_takes(on: On) -> None:
    """No layer is computed by the CPU, although some memory stays with it (buffers, the input's embeddings)."""
    status = await on("nvidia-24gb")
    assert on.kind is PlacementKind.GPU
    assert status.size_bytes == status.expected_host_bytes + sum(status.gpu_bytes.values()) == status.expected_bytes
    assert status.vram_bytes == status.gpu_bytes[0] < status.size_bytes
    assert processor(status) == "100% GPU"


async def test_a_measured_size_replaces_what_was_expected_of_the_machines_memory(on: On) -> None:
    status = await on("nvidia-24gb", measured=MEASURED)
    assert status.size_bytes == MEASURED + status.gpu_bytes[0]
    assert processor(status) == "100% GPU"


async def test_of_a_model_on_two_gpus_both_count(on: On) -> None:
    on.pool = on._make_pool(**whole("nvidia-2x24gb"))
    await on.pool.load(installed("large", known_header("qwen3-32b")))
    status = on.pool.status("large")
    assert status.size_bytes == status.expected_host_bytes + sum(status.gpu_bytes.values())
    assert processor(status) == "100% GPU"


async def test_a_model_partly_on_the_gpu_has_a_share_on_each_side(on: On) -> None:
    status = await on("nvidia-6gb")
    assert on.kind is PlacementKind.PARTLY_GPU
    assert status.vram_bytes == status.gpu_bytes[0] < status.size_bytes == status.expected_bytes
    assert processor(status) == f"{100 - share(status)}%/{share(status)}% CPU/GPU"


async def test_the_measured_share_of_the_cpu_may_differ_from_the_expected_one(on: On) -> None:
    status = await on("nvidia-6gb", measured=2 * 1024 * MIB)
    assert (status.size_bytes, status.vram_bytes) == (2 * 1024 * MIB + status.gpu_bytes[0], status.gpu_bytes[0])


async def test_experts_on_the_cpu_are_a_share_of_the_cpu(make_pool: MakePool) -> None:
    pool = make_pool(**whole("nvidia-24gb"))
    loaded = await pool.load(installed("moe", known_header("gpt-oss-120b")))
    assert loaded.decision.plan.solution.placement.kind is PlacementKind.EXPERTS_ON_CPU
    assert 0 < pool.status("moe").vram_bytes < pool.status("moe").size_bytes


async def test_layers_that_a_request_places_count_as_placed(on: On) -> None:
    few, many = await on("nvidia-24gb", num_gpu=5), await on("nvidia-24gb", num_gpu=25)
    assert 0 < few.vram_bytes < many.vram_bytes < many.size_bytes


async def test_a_machine_without_a_gpu_has_all_on_the_cpu(on: On) -> None:
    status = await on("cpu-16gb")
    assert (status.vram_bytes, status.gpu_bytes) == (0, {})
    assert status.size_bytes == status.expected_bytes < status.reserved_bytes  # conversations may be saved
    assert processor(status) == "100% CPU"
    assert (await on("cpu-16gb", measured=MEASURED)).size_bytes == MEASURED


async def test_a_model_that_is_kept_off_the_gpu_is_on_the_cpu(on: On) -> None:
    status = await on("nvidia-24gb", num_gpu=0)
    assert on.kind is PlacementKind.CPU
    assert processor(status) == "100% CPU"


async def test_an_engine_that_knows_no_gpu_is_on_the_cpu(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    pool = make_pool(**whole("nvidia-24gb", WHEEL))
    await pool.load(LLAMA)
    assert processor(pool.status("llama")) == "100% CPU"


# A GPU that shares the machine's memory


@pytest.mark.parametrize("machine", ["apple-16gb", "amd-integrated-16gb"])
async def test_shared_memory_is_counted_once(on: On, machine: str) -> None:
    status = await on(machine)
    assert on.kind is PlacementKind.GPU and status.shares_memory
    assert status.size_bytes == status.expected_host_bytes == status.expected_bytes
    assert processor(status) == "100% GPU"


async def test_a_measurement_that_includes_the_gpus_memory_is_the_size(on: On) -> None:
    whole = (await on("apple-16gb")).expected_bytes
    status = await on("apple-16gb", measured=whole + MEASURED)
    assert (status.size_bytes, status.vram_bytes) == (whole + MEASURED, status.gpu_bytes[0])


async def test_a_measurement_without_the_gpus_memory_is_added_to_it(on: On) -> None:
    status = await on("amd-integrated-16gb", measured=MEASURED)
    assert (status.size_bytes, status.vram_bytes) == (MEASURED + status.gpu_bytes[0], status.gpu_bytes[0])


async def test_a_model_partly_on_a_gpu_that_shares_memory_has_both_shares_in_it(on: On) -> None:
    status = await on("apple-64gb", num_gpu=10)
    assert status.vram_bytes == status.gpu_bytes[0] < status.size_bytes == status.expected_bytes
    assert processor(status) == f"{100 - share(status)}%/{share(status)}% CPU/GPU"


# The view


@pytest.mark.parametrize(
    ("host", "gpus", "is_on_gpus", "shown"),
    [
        (30, {0: 70}, False, "30%/70% CPU/GPU"),
        (30, {0: 40, 1: 30}, False, "30%/70% CPU/GPU"),
        (30, {0: 70}, True, "100% GPU"),
        (100, {}, False, "100% CPU"),
        (999, {0: 1}, False, "100% CPU"),
    ],
)
async def test_the_processor_is_shown_as_ollama_does(
    on: On, host: int, gpus: dict[int, int], is_on_gpus: bool, shown: str
) -> None:
    status = await on("nvidia-24gb")
    assert processor(replace(status, expected_host_bytes=host, gpu_bytes=gpus, is_on_gpus=is_on_gpus)) == shown


async def test_a_running_model_has_the_sizes_of_its_engine(on: On) -> None:
    status = await on("nvidia-6gb", measured=MEASURED)
    running = encode.running_model(status)
    assert (running.size, running.size_vram) == (status.size_bytes, status.vram_bytes)
    assert (running.name, running.context_length) == ("llama", 8192)


async def test_an_engine_that_is_down_has_the_size_that_is_expected_of_it(on: On) -> None:
    await on("cpu-16gb", measured=MEASURED)
    on.pool.engines[0].die()
    status = on.pool.status("llama")
    assert not status.is_running and status.size_bytes == status.expected_bytes


async def test_a_status_counts_requests_slots_and_the_queue(pool: MemoryPool) -> None:
    for _ in range(3):
        await pool.caller(installed("a"))
    status = pool.status("a")
    assert (status.in_flight, status.slots, status.slots_taken, status.queued) == (3, 2, 2, 1)


def share(status: EngineStatus) -> int:
    return round(100 * status.gpu_bytes[0] / status.size_bytes)


# What the engine reports


def on_card(size: float, layers: int = 33) -> list[str]:
    return [
        f"0.1 I load_tensors: offloaded {layers}/33 layers to GPU",
        "0.1 I load_tensors:   CPU_Mapped model buffer size =   100.00 MiB",
        *([f"0.1 I load_tensors:      CUDA0 model buffer size =   {size:.2f} MiB"] if size else []),
    ]


async def started_with(on: On, log: list[str]) -> EngineStatus:
    on.pool = on._make_pool(MemoryEngine(log=log), **whole("nvidia-24gb"))
    await on.pool.load(LLAMA)
    return on.pool.status("llama")


async def test_what_an_engine_has_on_a_gpu_is_what_it_says(on: On) -> None:
    status = await started_with(on, on_card(4000))
    assert status.vram_bytes == 4000 * MIB and status.gpu_bytes[0] != status.vram_bytes
    assert status.gpu_use and dict(status.gpu_use.bytes) == {"CUDA0": 4000 * MIB}
    assert processor(status) == "100% GPU"


async def test_layers_that_the_engine_left_on_the_cpu_are_there_whatever_was_planned(on: On) -> None:
    status = await started_with(on, on_card(4000, layers=20))
    assert on.kind is PlacementKind.GPU and status.vram_bytes == 4000 * MIB
    assert processor(status).endswith("CPU/GPU")


async def test_an_engine_that_found_no_gpu_is_on_the_cpu_and_said_to_be(on: On) -> None:
    status = await started_with(on, on_card(0, layers=0))
    assert (status.vram_bytes, dict(status.gpu_bytes), processor(status)) == (0, {}, "100% CPU")
    assert status.adjustments[0] == NO_GPU and on.pool.engines[0].starts == 1
    assert status.reserved_host_bytes > 4 * 1024 * MIB  # the weights are there now
