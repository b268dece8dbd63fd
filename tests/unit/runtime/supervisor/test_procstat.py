import os
import subprocess
import sys
from pathlib import Path

import pytest

from oprel.runtime.supervisor import procstat

MIB = 1024**2
# It maps a file and reads it, has memory of its own, and starts another process of its group that has some, too.
PROGRAM = """
import mmap, subprocess, sys
with open(sys.argv[1], "rb") as file:
    weights = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
pages = sum(weights[::4096])
own = bytearray(b"x") * (32 * 2**20)
other = [sys.executable, "-S", "-c", "own = bytearray(b'x') * (16 * 2**20); print(flush=True); input()"]
with subprocess.Popen(other, stdin=sys.stdin, stdout=subprocess.PIPE) as child:
    child.stdout.readline()
    print(flush=True)
"""


def test_what_a_group_holds_alone_is_all_its_memory_but_page_cache(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(os.urandom(MIB) * 64)
    command = [sys.executable, "-S", "-c", PROGRAM, str(weights)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, text=True
    ) as child:
        assert child.stdout
        child.stdout.readline()
        held, resident = procstat.private_bytes([child.pid]), procstat.look(child.pid).resident
        child.communicate("\n")
    assert 48 * MIB <= held < 48 * MIB + 40 * MIB
    assert resident >= held + 64 * MIB
    assert procstat.private_bytes([child.pid]) == 0 == procstat.private_bytes([])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports them in a file")
def test_resident_bytes_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read, reads = Path.read_text, list[Path]()

    def counted(path: Path) -> str:
        reads.append(path)
        return read(path)

    monkeypatch.setattr(Path, "read_text", counted)
    now, most = procstat.resident(os.getpid())
    assert MIB < now <= most and len(reads) == 1
    assert procstat.resident(0) == (0, 0)
