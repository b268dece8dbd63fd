"""What an engine prints with `--list-devices`, and the machine that follows from it."""

from dataclasses import replace

import pytest

from oprel.telemetry.hardware.devices import GPU, Memory
from oprel.telemetry.hardware.listed import MOST, ListedDevice, parse_devices, seen_by, unlisted
from oprel.telemetry.hardware.probing import Hardware
from oprel.telemetry.recommender.budgets import budgets_of
from tests.fixtures.known_models import DATA

GIB = 1024**3
# llama.cpp's Vulkan build on lavapipe, with the lines that the backend logs meanwhile.
LAVAPIPE = """\
ggml_vulkan: Found 1 Vulkan devices:
ggml_vulkan: 0 = llvmpipe (LLVM 15.0.6, 256 bits) (llvmpipe) | uma: 0 | fp16: 1 | bf16: 0 | warp size: 8
Available devices:
  Vulkan0: llvmpipe (LLVM 15.0.6, 256 bits) (2048 MiB, 2048 MiB free)
"""
TWO_CARDS = """\
ggml_cuda_init: found 2 CUDA devices (Total VRAM: 48160 MiB):
Available devices:
  CUDA0: NVIDIA GeForce RTX 4090 (24080 MiB, 23500 MiB free)
  CUDA1: NVIDIA GeForce RTX 4090 (24080 MiB, 1200 MiB free)
  BLAS: OpenBLAS (0 MiB, 0 MiB free)
"""
CPU_ONLY = Hardware.load(DATA / "machines" / "cpu-16gb.json")
CARD = GPU(vendor="amd", name="AMD Radeon RX 6800", total_bytes=16 * GIB, free_bytes=15 * GIB, id="0000:03:00.0")


def devices(text: str) -> tuple[ListedDevice, ...]:
    listed = parse_devices(text)
    assert listed is not None
    return listed


def vulkan(title: str, total: int = 16 * GIB, free: int = 16 * GIB) -> ListedDevice:
    return ListedDevice("Vulkan0", title, total, free)


def test_each_line_is_a_device() -> None:
    first, second = devices(TWO_CARDS)
    assert (first.name, first.title, first.total_bytes) == ("CUDA0", "NVIDIA GeForce RTX 4090", 24080 * 1024**2)
    assert (second.free_bytes, second.vendor, second.library) == (1200 * 1024**2, "nvidia", "CUDA")


def test_parentheses_belong_to_the_name() -> None:
    [device] = devices(LAVAPIPE)
    assert (device.name, device.title) == ("Vulkan0", "llvmpipe (LLVM 15.0.6, 256 bits)")


def test_a_list_without_devices_is_a_list() -> None:
    assert parse_devices("Available devices:\n  (none)\n") == ()


@pytest.mark.parametrize(
    "output", ["", "error: invalid argument: --list-devices", "Vulkan0: a card (1 MiB, 1 MiB free)", "\0" * 100_000]
)
def test_what_is_no_list_tells_nothing(output: str) -> None:
    assert parse_devices(output) is None


@pytest.mark.parametrize(
    "line",
    [
        "  Vulkan0: a card (many MiB, 1 MiB free)",
        f"  Vulkan0: a card ({'9' * 30} MiB, 1 MiB free)",
        f"  {'V' * 1000}: a card (1 MiB, 1 MiB free)",
        f"  Vulkan0: {'a card ' * 1000} (1 MiB, 1 MiB free)",
        "  Vulkan0: a card (-5 MiB, 1 MiB free)",
    ],
)
def test_nonsense_is_no_device(line: str) -> None:
    assert parse_devices(f"Available devices:\n{line}\n") == ()


def test_there_is_a_limit_to_what_is_believed() -> None:
    lines = "".join(f"  Vulkan{number}: card {number} (100 MiB, 200 MiB free)\n" for number in range(1000))
    listed = devices(f"Available devices:\n{lines}")
    assert len(listed) == MOST and listed[0].free_bytes == listed[0].total_bytes


def test_an_engine_that_cannot_list_leaves_the_machine_as_drivers_tell_of_it() -> None:
    machine = replace(CPU_ONLY, gpus=(CARD,))
    assert seen_by(machine, None) is machine


def test_a_gpu_that_only_the_engine_knows_is_hardware() -> None:
    seen = seen_by(CPU_ONLY, [vulkan("Pretended card", 2 * GIB, GIB)])
    [gpu] = seen.gpus
    assert (gpu.name, gpu.vendor, gpu.driver, gpu.device) == ("Pretended card", "other", "Vulkan", "Vulkan0")
    assert (gpu.total_bytes, gpu.free_bytes, gpu.integrated) == (2 * GIB, GIB, False)
    assert Hardware.from_json(seen.to_json()) == seen


def test_a_device_in_software_computes_in_the_machines_memory() -> None:
    [gpu] = seen_by(CPU_ONLY, devices(LAVAPIPE)).gpus
    assert gpu.integrated


def test_the_engine_says_which_gpus_share_the_machines_memory() -> None:
    text = LAVAPIPE.replace("uma: 0", "uma: 1").replace("llvmpipe", "a GPU")
    [gpu] = seen_by(CPU_ONLY, devices(text)).gpus
    assert gpu.integrated


def test_what_drivers_tell_of_a_gpu_is_kept() -> None:
    machine = replace(CPU_ONLY, gpus=(replace(CARD, architecture="gfx1030", bandwidth_bytes=512 * 10**9),))
    seen = seen_by(machine, [vulkan("AMD Radeon RX 6800 (RADV NAVI21)")])
    [gpu] = seen.gpus
    assert (gpu.name, gpu.architecture, gpu.bandwidth_bytes) == (CARD.name, "gfx1030", 512 * 10**9)
    assert gpu.free_bytes == 15 * GIB  # the driver knows what others use
    assert not unlisted(machine, seen) and seen.notes == machine.notes


def test_a_gpu_that_the_engine_does_not_see_is_not_planned_with_and_said() -> None:
    machine = replace(CPU_ONLY, gpus=(CARD,))
    seen = seen_by(machine, [])
    assert not seen.gpus and unlisted(machine, seen) == [CARD]
    assert seen.notes[-1] == "GPU AMD Radeon RX 6800 is not used: the engine does not see it"


def test_a_gpu_that_two_libraries_list_is_one() -> None:
    machine = replace(CPU_ONLY, gpus=(replace(CARD, vendor="nvidia", name="NVIDIA GeForce RTX 4090"),))
    twice = [ListedDevice("CUDA0", "NVIDIA GeForce RTX 4090", GIB, GIB), vulkan("NVIDIA GeForce RTX 4090", GIB, GIB)]
    assert [gpu.device for gpu in seen_by(machine, twice).gpus] == ["CUDA0"]
    assert [gpu.device for gpu in seen_by(CPU_ONLY, twice).gpus] == ["CUDA0"]


def test_two_gpus_of_one_kind_are_two() -> None:
    machine = Hardware.load(DATA / "machines" / "nvidia-2x24gb.json")
    seen = seen_by(machine, devices(TWO_CARDS))
    assert [(gpu.device, gpu.index) for gpu in seen.gpus] == [("CUDA0", 0), ("CUDA1", 1)]
    assert seen_by(CPU_ONLY, devices(TWO_CARDS)).gpus[1].free_bytes == 1200 * 1024**2


def test_a_gpu_of_another_machine_is_none_of_this_one() -> None:
    machine = replace(CPU_ONLY, gpus=(CARD,))
    seen = seen_by(machine, [ListedDevice("RPC0", "10.0.0.2:50052", 8 * GIB, 8 * GIB)])
    assert [gpu.name for gpu in seen.gpus] == ["10.0.0.2:50052"] and unlisted(machine, seen) == [CARD]


def test_all_that_one_engine_lists_work_together() -> None:
    """Only GPUs of one vendor do where drivers tell of them: which library an engine has is not known then."""
    memory = Memory(total_bytes=16 * GIB, available_bytes=16 * GIB)
    listed = [vulkan("AMD Radeon RX 6800"), ListedDevice("Vulkan1", "NVIDIA GeForce RTX 4090", 24 * GIB, 24 * GIB)]
    seen = seen_by(replace(CPU_ONLY, memory=memory), listed)
    assert [gpu.vendor for gpu in budgets_of(seen).gpus] == ["amd", "nvidia"]
    assert [
        gpu.vendor for gpu in budgets_of(replace(seen, gpus=tuple(replace(g, device="") for g in seen.gpus))).gpus
    ] == ["nvidia"]
