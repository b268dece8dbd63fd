"""Limits of the memory, as recordings of machines and a real control group have them."""

import contextlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from oprel.telemetry.hardware.devices import Memory
from oprel.telemetry.hardware.probing import probe
from tests.fixtures.machines import DESKTOP, GIB, Files, write_machine

MIB = 1024**2
V1_MOUNTS = (
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 {top} /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 master:2 - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 {top} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
    "41 31 0:38 {top} /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
)
V2_MOUNT = "30 23 0:26 {top} {folder} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1, POD = "sys/fs/cgroup/memory", "/kubepods/pod7/abc"


def mounted(lines: str, own: str, top: str = "/", folder: str = "/sys/fs/cgroup") -> Files:
    return {"proc/self/mountinfo": lines.format(top=top, folder=folder), "proc/self/cgroup": own}


def group_v1(folder: str, limit: int, used: int, stat: str = "", **files: int) -> Files:
    values = {"limit_in_bytes": limit, "usage_in_bytes": used, **files}
    named = {f"{folder}/memory.{name.replace('__', '.')}": str(value) for name, value in values.items()}
    return {**named, f"{folder}/memory.stat": stat}


def memory_of(root: Path, *parts: Files) -> Memory:
    return probe(write_machine(root, DESKTOP, *parts), {}).memory


UNLIMITED = 2**63 - 4096
TREES: Mapping[str, tuple[tuple[Files, ...], list[str], float]] = {
    "version 1 beside an empty version 2": (
        (
            mounted(V1_MOUNTS, "4:memory:/system/oprel\n1:cpu,cpuacct:/\n0::/\n"),
            group_v1(f"{V1}/system/oprel", 4 * GIB, GIB),
            group_v1(f"{V1}/system", 3 * GIB, GIB),
            group_v1(V1, UNLIMITED, 9 * GIB),
        ),
        [
            "the control group allows 4.3 GB (memory.limit_in_bytes)",
            "the control group /system allows 3.2 GB (memory.limit_in_bytes)",
        ],
        2,
    ),
    "a group within a container that shows the host's paths": (
        (
            mounted(V1_MOUNTS, f"4:memory:{POD}/inner\n", top=POD),
            group_v1(f"{V1}/inner", GIB, 0),
            group_v1(V1, 4 * GIB, 0),
        ),
        [
            "the control group allows 1.1 GB (memory.limit_in_bytes)",
            "the control group / allows 4.3 GB (memory.limit_in_bytes)",
        ],
        1,
    ),
    "a parent that the container hides": (
        (
            mounted(V1_MOUNTS, f"4:memory:{POD}\n", top=POD),
            group_v1(V1, 4 * GIB, GIB, f"hierarchical_memory_limit {2 * GIB}\n"),
        ),
        [
            "the control group allows 4.3 GB (memory.limit_in_bytes)",
            "the control group allows 2.1 GB (memory.limit_in_bytes of a group around it)",
        ],
        1,
    ),
    "memory and swap together": (
        (
            mounted(V1_MOUNTS, "4:memory:/\n"),
            group_v1(V1, 4 * GIB, GIB, memsw__limit_in_bytes=5 * GIB, memsw__usage_in_bytes=4 * GIB),
        ),
        [
            "the control group allows 4.3 GB (memory.limit_in_bytes)",
            "the control group allows 5.4 GB (memory.memsw.limit_in_bytes)",
        ],
        1,
    ),
    "version 2 at an unusual place": (
        (
            mounted(V2_MOUNT, "0::/a.slice\n", folder=r"/mnt/all\040groups"),
            {"mnt/all groups/a.slice/memory.max": f"{2 * GIB}", "mnt/all groups/a.slice/memory.current": f"{GIB}"},
        ),
        ["the control group allows 2.1 GB (memory.max)"],
        1,
    ),
    "kernel memory that can be dropped, and memory of tmpfs, which cannot": (
        (
            mounted(V2_MOUNT, "0::/\n"),
            {
                "sys/fs/cgroup/memory.max": f"{6 * GIB}",
                "sys/fs/cgroup/memory.current": f"{5 * GIB}",
                "sys/fs/cgroup/memory.stat": f"anon 7\nshmem {2 * GIB}\ninactive_file {GIB}\nslab_reclaimable {GIB}\n",
            },
        ),
        ["the control group allows 6.4 GB (memory.max)"],
        3,
    ),
    "a group of another container": (
        (
            mounted(V2_MOUNT, "0::/../other\n", top="/../.."),
            {"sys/fs/cgroup/memory.max": f"{5 * GIB}", "sys/fs/cgroup/memory.current": "0"},
        ),
        ["the control group allows 5.4 GB (memory.max)"],
        5,
    ),
    "what binds nothing": (
        (
            mounted(V1_MOUNTS, "4:memory:/\n"),
            group_v1(V1, UNLIMITED, GIB, f"hierarchical_memory_limit {UNLIMITED}", soft_limit_in_bytes=GIB),
            {"proc/self/limits": "Max locked memory         8388608   8388608   bytes\nMax resident set  5 5 bytes\n"},
        ),
        [],
        24,
    ),
}


@pytest.mark.parametrize(("files", "words", "available"), TREES.values(), ids=TREES)
def test_limits_of_control_groups(tmp_path: Path, files: tuple[Files, ...], words: list[str], available: float) -> None:
    memory = memory_of(tmp_path, *files)
    assert [str(limit) for limit in memory.limits] == words
    assert memory.available_bytes == available * GIB
    assert memory.machine_available_bytes == (24 * GIB if words else None)


SWAPS: Mapping[str, tuple[Files, tuple[int, int]]] = {
    "none, in version 2": (
        {"sys/fs/cgroup/memory.max": f"{GIB}", "sys/fs/cgroup/memory.swap.max": "0"},
        (0, 0),
    ),
    "some, in version 2": (
        {"sys/fs/cgroup/memory.swap.max": f"{2 * GIB}", "sys/fs/cgroup/memory.swap.current": f"{GIB}"},
        (2, 1),
    ),
    "all, in version 2": ({"sys/fs/cgroup/memory.swap.max": "max"}, (8, 8)),
    "some, in version 1": (
        group_v1(V1, 4 * GIB, 0, f"total_swap {GIB}\n", memsw__limit_in_bytes=7 * GIB, memsw__usage_in_bytes=0),
        (3, 2),
    ),
}


@pytest.mark.parametrize(("files", "swap"), SWAPS.values(), ids=SWAPS)
def test_swap_within_a_limit(tmp_path: Path, files: Files, swap: tuple[int, int]) -> None:
    memory = memory_of(tmp_path, {"proc/self/cgroup": "4:memory:/\n0::/\n"}, files)
    assert (memory.swap_total_bytes, memory.swap_free_bytes) == (swap[0] * GIB, swap[1] * GIB)


def test_a_limit_of_each_process_leaves_the_memory_of_all_alone(tmp_path: Path) -> None:
    row = "Max {name}  {soft:<20} unlimited            bytes\n"
    rows = row.format(name="address space", soft=4 * GIB) + row.format(name="data size", soft=2 * GIB)
    memory = memory_of(tmp_path, {"proc/self/limits": rows})
    assert (memory.available_bytes, memory.limit_bytes, memory.usable_bytes) == (24 * GIB, None, 32 * GIB)
    assert [str(limit) for limit in memory.process_limits] == [
        "the process limit allows 4.3 GB for each process (ulimit -v)",
        "the process limit allows 2.1 GB for each process (ulimit -d)",
    ]
    assert [limit.free_bytes for limit in memory.limits] == [4 * GIB - 640 * MIB, 2 * GIB - 160 * MIB]
    unlimited = row.format(name="address space", soft="unlimited") + row.format(name="data size", soft=64 * GIB)
    assert memory_of(tmp_path, {"proc/self/limits": unlimited}).limits == ()


# In the group: probes it, takes the memory or the page cache that it is asked for, and probes it again.
CHILD = """
import json, os, sys
from pathlib import Path
from oprel.telemetry.hardware import linux
Path(sys.argv[1], "cgroup.procs").write_text(str(os.getpid()))
taken = []
for line in sys.stdin:
    match line.split():
        case ["memory", size]:
            taken.append(bytearray(os.urandom(2**20) * int(size)))
        case ["file", name]:
            taken.append(len(Path(name).read_bytes()) and None)
    memory = linux.memory(Path("/"))
    own = [limit for limit in memory.limits if limit.owner == "the control group"]
    print(json.dumps([memory.usable_bytes, own[0].free_bytes, str(own[0])]), flush=True)
"""


@pytest.fixture
def real_group() -> Iterator[Path]:
    """A control group of version 1 for the memory, removed when its process has ended."""
    group = Path("/sys/fs/cgroup/memory") / f"oprel-test-{uuid.uuid4().hex[:8]}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error.strerror}")
    try:
        yield group
    finally:
        with contextlib.suppress(OSError):  # a process that was killed may not be reaped yet
            group.rmdir()


def test_a_real_control_group_is_obeyed_and_looked_at_anew(real_group: Path, tmp_path: Path) -> None:
    limit = real_group / "memory.limit_in_bytes"
    try:
        limit.write_text(str(256 * MIB))
    except OSError as error:
        pytest.skip(f"the control group cannot be limited: {error.strerror}")
    cached = tmp_path / "weights"
    cached.write_bytes(os.urandom(MIB) * 64)
    os.sync()
    command = [sys.executable, "-P", "-c", CHILD, str(real_group)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:

        def ask(order: str) -> tuple[int, int, str]:
            assert child.stdin and child.stdout
            child.stdin.write(f"{order}\n")
            child.stdin.flush()
            usable, free, words = json.loads(child.stdout.readline())
            return usable, free, words

        usable, free, words = ask("probe")
        assert (usable, words) == (256 * MIB, "the control group allows 268 MB (memory.limit_in_bytes)")
        assert 200 * MIB < free <= 256 * MIB
        after = ask("memory 64")[1]
        assert free - 72 * MIB < after < free - 56 * MIB
        assert ask(f"file {cached}")[1] > after - 16 * MIB  # page cache is dropped when memory is needed
        limit.write_text(str(160 * MIB))
        assert ask("probe")[0] == 160 * MIB
        child.communicate()
