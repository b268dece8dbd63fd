import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oprel.core.exceptions import ValidationError
from oprel.telemetry.hardware import apple, nvidia
from oprel.telemetry.hardware.devices import CPU, GPU, Memory
from oprel.telemetry.hardware.probing import Hardware, memory_bytes, probe
from oprel.telemetry.hardware.visible import visible
from tests.fixtures.machines import (
    DESKTOP,
    GIB,
    MAC,
    NEOVERSE,
    PHOENIX,
    RADEON,
    RYZEN,
    FakeNVML,
    Files,
    meminfo,
    pci,
    processor,
    write_machine,
)


def machine(root: Path, *parts: Files, **environment: str) -> Hardware:
    return probe(write_machine(root, *parts), environment)


def test_a_desktop(tmp_path: Path) -> None:
    assert machine(tmp_path, DESKTOP) == Hardware(
        CPU(
            name="AMD Ryzen 7 5800X 8-Core Processor",
            physical_cores=8,
            logical_cores=16,
            features=("ssse3", "fma", "sse4_2", "avx", "f16c", "avx2", "bmi2"),
        ),
        Memory(total_bytes=32 * GIB, available_bytes=24 * GIB, swap_total_bytes=8 * GIB, swap_free_bytes=8 * GIB),
    )


def test_this_machine_can_be_probed_and_has_memory() -> None:
    hardware = probe()
    assert 0 < hardware.memory.available_bytes <= hardware.memory.total_bytes
    assert hardware.cpu.logical_cores >= hardware.cpu.physical_cores >= hardware.cpu.threads >= 1
    assert memory_bytes() == hardware.memory.usable_bytes


def test_an_arm_server_has_no_name_and_other_features(tmp_path: Path) -> None:
    cpu = machine(tmp_path, DESKTOP, processor(NEOVERSE, ["0", "1", "2", "3"])).cpu
    assert (cpu.name, cpu.physical_cores, cpu.logical_cores, cpu.threads) == ("", 4, 4, 4)
    assert cpu.features == ("asimd", "asimdhp", "asimddp", "sve", "i8mm", "bf16")


def test_slow_cores_do_not_compute(tmp_path: Path) -> None:
    """An Intel CPU with two fast cores of two threads each, and four slow cores."""
    hybrid = processor(RYZEN, ["0-1", "0-1", "2-3", "2-3", "4", "5", "6", "7"])
    kinds = {"sys/devices/cpu_core/cpus": "0-3\n", "sys/devices/cpu_atom/cpus": "4-7\n"}
    cpu = machine(tmp_path, DESKTOP, hybrid, kinds).cpu
    assert (cpu.physical_cores, cpu.logical_cores, cpu.performance_cores, cpu.threads) == (6, 8, 2, 2)


def test_only_cores_that_may_be_used_count(tmp_path: Path) -> None:
    cpu = machine(tmp_path, DESKTOP, processor(RYZEN, ["0,2", "1,3", "0,2", "1,3"], allowed="0,2")).cpu
    assert (cpu.physical_cores, cpu.logical_cores) == (1, 2)


@pytest.mark.parametrize(
    ("average", "running", "allowed", "busy"),
    [
        ("1.25 0.80 0.30 2/321 4711", 3, "0-3", 1.25),
        ("7.90 4.10 2.00 9/321 4711", 3, "0-3", 2.0),  # this process runs too
        ("1.90 1.80 1.70 1/321 4711", 1, "0-3", 0.0),  # an engine has just finished
        ("0.02 0.00 0.00 3/321 4711", 3, "0-3", 0.02),  # a program has just begun
        ("2.00 2.00 2.00 3/321 4711", 3, "0-1", 1.0),
        ("", 3, "0-3", 0.0),
    ],
)
def test_cores_are_busy_if_they_were_and_still_are(
    tmp_path: Path, average: str, running: int, allowed: str, busy: float
) -> None:
    load = {"proc/loadavg": average, "proc/stat": f"cpu  1 2 3\nintr 9 0 0\nprocs_running {running}\n"}
    cores = processor(RYZEN, ["0", "1", "2", "3"], allowed=allowed)
    assert machine(tmp_path, DESKTOP, cores, load).cpu.busy_cores == busy


def test_a_machine_that_tells_nothing_has_a_core_and_a_note(tmp_path: Path) -> None:
    hardware = probe(tmp_path, {})
    assert hardware.cpu == CPU() and hardware.memory == Memory(total_bytes=0, available_bytes=0) and hardware.gpus == ()
    assert hardware.notes == ("the size of the memory is unknown: /proc/meminfo cannot be read",)


OWN_V2: Files = {"proc/self/cgroup": "0::/user.slice/oprel.service\n"}
OWN_V1: Files = {"proc/self/cgroup": "9:name=systemd:/\n4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n0::/\n"}
SLICE = "sys/fs/cgroup/user.slice"
LIMITS: Mapping[str, tuple[tuple[Files, ...], int | None, int]] = {
    "none": ((OWN_V2, {f"{SLICE}/memory.max": "max", f"{SLICE}/memory.current": "1"}), None, 24),
    "its own group's": (
        (OWN_V2, {f"{SLICE}/oprel.service/memory.max": f"{8 * GIB}", f"{SLICE}/oprel.service/memory.current": "0"}),
        *(8, 8),
    ),
    "a group around it": (
        (
            OWN_V2,
            {
                f"{SLICE}/oprel.service/memory.max": f"{16 * GIB}",
                f"{SLICE}/memory.high": f"{12 * GIB}",
                f"{SLICE}/memory.max": "max",
                f"{SLICE}/memory.current": f"{9 * GIB}",
                f"{SLICE}/memory.stat": f"anon 5\ninactive_file {2 * GIB}\nactive_file {GIB}\n",
            },
        ),
        *(12, 6),
    ),
    "a container's, which is the root here": (
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": f"{4 * GIB}"},),
        *(4, 4),
    ),
    "a container's under its name outside": (
        (
            OWN_V1,
            {
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{4 * GIB}",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{3 * GIB}",
                "sys/fs/cgroup/memory/memory.stat": f"inactive_file 7\ntotal_inactive_file {GIB}\n",
            },
        ),
        *(4, 2),
    ),
    "none in the first version": (
        (OWN_V1, {"sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "9223372036854771712"}),
        *(None, 24),
    ),
    "a path out of the mount": (
        ({"proc/self/cgroup": "0::/../other\n", "sys/fs/cgroup/memory.max": f"{5 * GIB}"},),
        *(5, 5),
    ),
    "more than all memory": ((OWN_V2, {f"{SLICE}/memory.max": f"{64 * GIB}"}), None, 24),
    "used up": (
        (OWN_V2, {f"{SLICE}/memory.max": f"{2 * GIB}", f"{SLICE}/memory.current": f"{3 * GIB}"}),
        *(2, 0),
    ),
}


@pytest.mark.parametrize(("files", "limit", "available"), LIMITS.values(), ids=LIMITS)
def test_memory_within_a_limit(tmp_path: Path, files: tuple[Files, ...], limit: int | None, available: int) -> None:
    memory = machine(tmp_path, DESKTOP, *files).memory
    assert memory.limit_bytes == (None if limit is None else limit * GIB)
    assert memory.available_bytes == available * GIB
    assert memory.usable_bytes == (limit or 32) * GIB


@pytest.mark.parametrize(
    ("files", "quota", "threads"),
    [
        ([OWN_V2, {f"{SLICE}/cpu.max": "150000 100000\n"}], 1.5, 1),
        ([OWN_V2, {f"{SLICE}/cpu.max": "400000 100000\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}], 4.0, 4),
        ([OWN_V2, {f"{SLICE}/cpu.max": "max 100000\n"}], None, 8),
        ([OWN_V2, {f"{SLICE}/cpu.max": "25000 100000\n"}], 0.25, 1),
        ([OWN_V2, {f"{SLICE}/cpu.max": "5 0\n"}], None, 8),
        (
            [
                OWN_V1,
                {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"},
            ],
            2.0,
            2,
        ),
        (
            [OWN_V1, {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}],
            None,
            8,
        ),
    ],
)
def test_cores_within_a_quota(tmp_path: Path, files: list[Files], quota: float | None, threads: int) -> None:
    cpu = machine(tmp_path, DESKTOP, *files).cpu
    assert (cpu.quota, cpu.physical_cores, cpu.threads) == (quota, 8, threads)


def test_a_radeon_is_found_with_its_memory_name_and_architecture(tmp_path: Path) -> None:
    assert machine(tmp_path, DESKTOP, RADEON).gpus == (
        GPU(
            vendor="amd",
            name="AMD Radeon RX 7900 XTX",
            total_bytes=24 * GIB,
            free_bytes=23 * GIB,
            id="0000:03:00.0",
            driver="amdgpu",
            architecture="gfx1100",
        ),
    )


def test_an_integrated_one_has_its_own_part_and_what_the_machine_can_spare(tmp_path: Path) -> None:
    (gpu,) = machine(tmp_path, DESKTOP, PHOENIX).gpus
    assert (gpu.name, gpu.architecture, gpu.integrated) == ("AMD gfx1103", "gfx1103", True)
    assert (gpu.total_bytes, gpu.free_bytes) == (8 * GIB + GIB // 2, 7 * GIB + GIB // 4)
    (full,) = machine(tmp_path, meminfo(32 * GIB, GIB)).gpus
    assert full.free_bytes == GIB + GIB // 4


def test_without_the_compute_driver_its_number_must_do(tmp_path: Path) -> None:
    files = {name: text for name, text in RADEON.items() if "kfd" not in name and "amdgpu.ids" not in name}
    (gpu,) = machine(tmp_path, DESKTOP, files).gpus
    assert (gpu.name, gpu.architecture, gpu.integrated) == ("AMD 744c", "", False)


def test_both_radeons_of_a_desktop_are_counted(tmp_path: Path) -> None:
    assert [gpu.index for gpu in machine(tmp_path, DESKTOP, RADEON, PHOENIX).gpus] == [0, 1]


def test_an_integrated_intel_takes_a_share_of_the_memory(tmp_path: Path) -> None:
    (gpu,) = machine(tmp_path, DESKTOP, pci("0000:00:02.0", 0x8086, 0x46A6, "i915")).gpus
    assert (gpu.vendor, gpu.integrated, gpu.name) == ("intel", True, "Intel integrated 46a6")
    assert (gpu.total_bytes, gpu.free_bytes) == (24 * GIB, 24 * GIB)


@pytest.mark.parametrize(
    ("files", "note"),
    [
        (pci("0000:01:00.0", 0x10DE, 0x2684, ""), "NVIDIA 2684 at 0000:01:00.0 is not used: its driver is missing"),
        (
            pci("0000:01:00.0", 0x10DE, 0x2684, "nouveau"),
            "is not used: its driver is nouveau; install the vendor's driver",
        ),
        (pci("0000:03:00.0", 0x1002, 0x744C, ""), "AMD 744c at 0000:03:00.0 is not used: its driver is missing"),
        (pci("0000:03:00.0", 0x1002, 0x744C, "vfio-pci"), "AMD 744c at 0000:03:00.0 is not used: its driver does not"),
        (
            pci("0000:03:00.0", 0x8086, 0x56A0, "xe"),
            "Intel 56a0 at 0000:03:00.0 is not used: its driver does not report",
        ),
    ],
)
def test_a_gpu_that_cannot_be_used_is_noted(tmp_path: Path, files: Files, note: str) -> None:
    hardware = machine(tmp_path, DESKTOP, files)
    assert hardware.gpus == () and len(hardware.notes) == 1 and note in hardware.notes[0]


def test_a_servers_console_and_other_devices_are_no_gpus(tmp_path: Path) -> None:
    network = {name: text.replace("0x030000", "0x020000") for name, text in pci("0000:05:00.0", 0x10DE, 1, "").items()}
    hardware = machine(tmp_path, DESKTOP, pci("0000:04:00.0", 0x1A03, 0x2000, "ast"), network)
    assert (hardware.gpus, hardware.notes) == ((), ())


MEMORY = Memory(total_bytes=32 * GIB, available_bytes=24 * GIB)


def listed(nvml: FakeNVML) -> tuple[list[GPU], list[str]]:
    notes = list[str]()
    gpus = nvidia.list_gpus(nvml, MEMORY, notes.append)
    assert nvml.open == 0
    return gpus, notes


def test_nvidias_gpus_are_asked_for() -> None:
    gpus, notes = listed(FakeNVML("NVIDIA GeForce RTX 4090", "NVIDIA RTX 6000"))
    assert notes == []
    assert gpus[0] == GPU(
        vendor="nvidia",
        name="NVIDIA GeForce RTX 4090",
        total_bytes=24 * GIB,
        free_bytes=23 * GIB,
        id="GPU-0bcd-0",
        driver="570.86.10",
        architecture="8.9",
        bandwidth_bytes=1_008_096_000_000,
    )
    assert (gpus[1].index, gpus[1].name, gpus[1].free_bytes) == (1, "NVIDIA RTX 6000", 22 * GIB)


def test_what_a_driver_does_not_tell_is_left_out() -> None:
    (gpu,), notes = listed(FakeNVML("old", failing="version uuid capability clock shutdown"))
    assert (gpu.driver, gpu.id, gpu.architecture, gpu.bandwidth_bytes, notes) == ("", "", "", None, [])


def test_one_without_memory_of_its_own_shares_the_machines() -> None:
    (gpu,), _ = listed(FakeNVML("NVIDIA GB10", failing="memory"))
    assert gpu.integrated and (gpu.total_bytes, gpu.free_bytes) == (32 * GIB, 24 * GIB)


@pytest.mark.parametrize(
    ("failing", "left", "note"),
    [
        ("init", 0, "the driver reports: init: Unknown Error; does `nvidia-smi` work?"),
        ("count", 0, "the driver reports: count: Unknown Error; does `nvidia-smi` work?"),
        ("handle0", 1, "NVIDIA GPU 0 is not used: the driver reports: handle0"),
        ("name", 0, "NVIDIA GPU 1 is not used: the driver reports: name"),
    ],
)
def test_a_failing_driver_becomes_a_note(failing: str, left: int, note: str) -> None:
    gpus, notes = listed(FakeNVML("a", "b", failing=failing))
    assert len(gpus) == left and note in notes[-1]


def test_a_driver_that_is_loaded_but_cannot_be_asked_is_noted(tmp_path: Path) -> None:
    """Passes with or without a GPU: if the machine has one, its driver answers."""
    notes = list[str]()
    assert nvidia.gpus(tmp_path, MEMORY, notes.append) == [] == notes
    write_machine(tmp_path, {"proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module"})
    assert nvidia.gpus(tmp_path, MEMORY, notes.append) or notes


CARD = GPU(vendor="nvidia", name="a card", total_bytes=1, free_bytes=1)
TWO = [replace(CARD, name=f"number {index}", index=index, id=f"GPU-{index}bc") for index in (0, 1)]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (None, [0, 1]),
        ("1", [1]),
        ("1,0", [1, 0]),
        (" 0 , 1 ", [0, 1]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0,7,1", [0]),
        ("GPU-1", [1]),
        ("GPU-", []),
        ("0,0", [0]),
    ],
)
def test_gpus_that_the_environment_hides_are_left_out(wanted: str | None, names: list[int]) -> None:
    environment = {} if wanted is None else {"CUDA_VISIBLE_DEVICES": wanted}
    assert [gpu.index for gpu in visible(TWO, environment)] == names
    apple = replace(CARD, vendor="apple", name="M4")
    assert apple in visible([*TWO, apple], environment)


def test_a_hidden_gpu_is_noted(tmp_path: Path) -> None:
    hardware = machine(tmp_path, DESKTOP, RADEON, HIP_VISIBLE_DEVICES="")
    assert hardware.gpus == () and hardware.notes == (
        "GPU AMD Radeon RX 7900 XTX is hidden by an environment variable",
    )


@pytest.mark.parametrize(
    ("total", "limit", "budget"), [(16, 0, 16 * 2 / 3), (64, 0, 48), (64, 56 * 1024, 56), (64, 99 * 1024, 64)]
)
def test_a_mac_lets_a_part_of_its_memory_be_taken(total: int, limit: int, budget: float) -> None:
    values = apple.parsed(MAC.replace("limit_mb: 0", f"limit_mb: {limit}"))
    memory = Memory(total_bytes=total * GIB, available_bytes=total * GIB // 2)
    gpu = apple.gpu(values, memory)
    assert gpu is not None and gpu.integrated and gpu.name == "Apple M2 Max"
    assert (gpu.total_bytes, gpu.free_bytes) == (int(budget * GIB), min(int(budget * GIB), total * GIB // 2))
    assert apple.cpu(values) == CPU(
        name="Apple M2 Max",
        physical_cores=12,
        logical_cores=12,
        performance_cores=8,
        features=("asimd", "asimddp", "i8mm"),
    )


def test_a_mac_is_asked_where_there_is_no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(apple, "read_sysctl", lambda: apple.parsed(MAC))
    hardware = probe(environment={})
    assert (hardware.cpu.threads, [gpu.vendor for gpu in hardware.gpus], hardware.notes) == (8, ["apple"], ())
    monkeypatch.setattr(apple, "read_sysctl", dict[str, str])
    hardware = probe(environment={})
    assert hardware.memory.total_bytes == psutil.virtual_memory().total and hardware.gpus == ()
    assert hardware.notes == ("the processor is unknown: sysctl failed",)


def test_a_system_without_its_program_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apple, "PROGRAM", "/nowhere/sysctl")
    assert apple.read_sysctl() == {}


def test_an_intel_mac_has_no_gpu_of_use_and_a_mute_one_a_core() -> None:
    assert apple.gpu(apple.parsed(MAC.replace("arm64: 1", "arm64: 0")), MEMORY) is None
    assert apple.cpu({}) == CPU()


def test_a_machine_can_be_written_down_and_read_again(tmp_path: Path) -> None:
    hardware = machine(tmp_path, DESKTOP, RADEON, PHOENIX, OWN_V2, {f"{SLICE}/cpu.max": "150000 100000"})
    file = tmp_path / "machine.json"
    file.write_text(hardware.to_json())
    assert Hardware.load(file) == hardware


def test_a_simulated_machine_needs_few_words() -> None:
    text = '{"cpu": {"physical_cores": 8}, "memory": {"total_bytes": 16, "available_bytes": 8}}'
    assert Hardware.from_json(text) == Hardware(CPU(physical_cores=8), Memory(total_bytes=16, available_bytes=8))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[", "Invalid JSON"),
        ("{}", "cpu: Field required"),
        ('{"cpu": {}, "memory": {"total_bytes": 1}}', "memory.available_bytes: Field required"),
        ('{"cpu": {"cores": 8}, "memory": {}}', "cpu.cores: Unexpected"),
        (
            '{"cpu": {}, "memory": {"total_bytes": -1, "available_bytes": 0}}',
            "memory: Value error, total_bytes must not",
        ),
        ('{"cpu": {"quota": NaN}, "memory": {"total_bytes": 1, "available_bytes": 0}}', "cpu"),
        (
            '{"cpu": {}, "memory": {"total_bytes": 1, "available_bytes": 0}, "gpus": [{"vendor": "s3"}]}',
            "gpus.0.vendor",
        ),
    ],
)
def test_a_wrong_description_is_refused_with_its_place(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "machine.json"
    file.write_text(text)
    with pytest.raises(ValidationError) as caught:
        Hardware.load(file)
    assert f"{file} cannot be used: " in caught.value.message and reason in caught.value.message
    with pytest.raises(ValidationError, match="cannot be read"):
        Hardware.load(tmp_path / "none.json")


EVERYTHING = {
    **DESKTOP,
    **RADEON,
    **PHOENIX,
    **OWN_V1,
    f"{SLICE}/cpu.max": "1 1",
    f"{SLICE}/memory.max": "5",
    "proc/self/mountinfo": "9 1 0:1 /docker /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
    "proc/self/limits": "Max address space  9999999  unlimited  bytes\n",
    "sys/fs/cgroup/memory/abc/memory.limit_in_bytes": "7",
    "sys/fs/cgroup/memory/abc/memory.stat": "hierarchical_memory_limit 3\n",
}


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_machine(tmp_path_factory.mktemp("strange"), EVERYTHING)


@settings(max_examples=100, deadline=None)
@given(
    changes=st.dictionaries(
        st.sampled_from(sorted(EVERYTHING)),
        st.binary(max_size=40) | st.sampled_from([b"-1", b"9" * 50, b"0-99999999", b"0x", b"a b c\n1 2", b"\xff: 1"]),
        max_size=9,
    )
)
def test_a_probe_never_fails(strange: Path, changes: dict[str, bytes]) -> None:
    for name, content in changes.items():
        (strange / name).write_bytes(content)
    hardware = probe(strange, {})
    write_machine(strange, {name: EVERYTHING[name] for name in changes})
    assert Hardware.from_json(hardware.to_json()) == hardware


def test_nothing_heavy_is_imported_for_the_memory() -> None:
    program = (
        "import json, sys; from oprel.telemetry.hardware.probing import memory_bytes;"
        "before = {*sys.modules}; memory_bytes();"
        "print(json.dumps([*({*sys.modules} - before), *({'psutil', 'pynvml', 'pydantic'} & {*sys.modules})]))"
    )
    shown = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, check=True).stdout
    assert json.loads(shown) == [] or sys.platform != "linux"
