"""Transfers by processes that are killed, that want the same file, and that find no room."""

import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from oprel.downloader.transfer import segments
from tests.conftest import eventually
from tests.fixtures import fetching
from tests.fixtures.hub_server import Behaviour, HubServer, Mode

pytestmark = pytest.mark.long

SIZE = 24_000_001
SEGMENT = 2 * 2**20
KILLS = 20
ROOT = Path(__file__).parents[3]


@dataclass
class Fetching:
    """A file that a server has, and processes that fetch it to `target`."""

    hub: HubServer
    target: Path

    @property
    def content(self) -> bytes:
        return (self.hub.folder / "org/repo/model.gguf").read_bytes()

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def start(self) -> subprocess.Popen[str]:
        url = f"{self.hub.url}/org/repo/resolve/main/model.gguf"
        words = [url, str(SIZE), self.digest, str(self.target), str(SEGMENT)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, fetching.__file__, *words]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)

    @property
    def sent(self) -> int:
        return sum(self.hub.sent.values())

    @property
    def kept(self) -> int:
        """Bytes that the next process will not ask for."""
        state = segments.load(self.target.with_name("model.gguf.part.json"), segments.Version(SIZE, self.digest))
        return state[1].done_bytes if state else 0

    def lost_by_a_kill(self, after: int) -> int:
        """Start a process and kill it when so many bytes were sent to it; how many of those were in vain."""
        sent, kept = self.sent, self.kept
        process = self.start()
        eventually(lambda: self.sent > sent + after or process.poll() is not None)
        process.kill()
        process.communicate()
        eventually(lambda: not self.hub.busy)
        return (self.sent - sent) - (self.kept - kept)

    @property
    def leftovers(self) -> list[Path]:
        return [path for path in self.target.parent.iterdir() if path != self.target]


@pytest.fixture
def fetched(tmp_path: Path) -> Iterator[Fetching]:
    file = tmp_path / "served/org/repo/model.gguf"
    file.parent.mkdir(parents=True)
    file.write_bytes(random.Random(3).randbytes(SIZE))
    (tmp_path / "here").mkdir()
    with HubServer(tmp_path / "served").running() as hub:
        yield Fetching(hub, tmp_path / "here" / "model.gguf")


def test_killed_twenty_times_it_fetches_less_than_a_segment_again_each_time(fetched: Fetching):
    fetched.hub.behaviour = Behaviour(Mode.SLOW, pause=0.002)
    chance = random.Random(11)
    lost = [fetched.lost_by_a_kill(after=chance.randrange(SIZE // KILLS)) for _ in range(KILLS)]
    fetched.hub.behaviour = Behaviour()
    assert max(lost) < SEGMENT, lost
    last = fetched.start()
    assert (last.communicate()[1], last.returncode) == ("", 0)
    assert fetched.target.read_bytes() == fetched.content
    assert fetched.leftovers == []
    assert fetched.sent == SIZE + sum(lost)


def test_of_two_processes_one_fetches_and_the_other_finds_it_done(fetched: Fetching):
    fetched.hub.behaviour = Behaviour(Mode.SLOW, pause=0.0005)
    processes = [fetched.start() for _ in range(2)]
    assert [(process.communicate()[1], process.returncode) for process in processes] == [("", 0)] * 2
    assert fetched.target.read_bytes() == fetched.content
    assert fetched.sent == SIZE


def test_a_process_goes_on_when_the_one_that_fetched_is_killed(fetched: Fetching):
    fetched.hub.behaviour = Behaviour(Mode.SLOW, pause=0.001)
    first = fetched.start()
    eventually(lambda: fetched.sent > SIZE // 4)
    second = fetched.start()
    eventually(lambda: fetched.sent > SIZE // 2)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert (second.communicate()[1], second.returncode) == ("", 0)
    assert fetched.target.read_bytes() == fetched.content
    assert fetched.sent < SIZE + SEGMENT


@contextlib.contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A file system of so much room. Skips the test where this user may mount none."""
    with tempfile.TemporaryDirectory(prefix="oprel-disk-") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder]
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("only root may mount a small disk")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_too_small_says_what_is_needed_and_what_is_free(fetched: Fetching):
    with small_disk(16) as disk:
        fetched.target = disk / "model.gguf"
        process = fetched.start()
        said = process.communicate()[1]
        assert f"disk_full: not enough space for model.gguf: it needs 24 MB in {disk}, where 17 MB are free" in said
        assert fetched.leftovers == []
    assert fetched.sent == 0


def test_a_disk_that_fills_meanwhile_stops_the_transfer_and_room_lets_it_go_on(fetched: Fetching):
    fetched.hub.behaviour = Behaviour(Mode.SLOW, pause=0.0005)
    with small_disk(30) as disk:
        fetched.target = disk / "model.gguf"
        process = fetched.start()
        eventually(lambda: fetched.sent > SIZE // 4)
        other = disk / "other"
        with contextlib.suppress(OSError), other.open("wb") as file:
            while True:
                file.write(bytes(2**20))
        said = process.communicate()[1]
        assert "disk_full: not enough space for model.gguf: it needs 24 MB" in said and "where 0 B are free" in said
        other.unlink()
        before = fetched.sent
        again = fetched.start()
        assert (again.communicate()[1], again.returncode) == ("", 0)
        assert fetched.target.read_bytes() == fetched.content
        assert fetched.sent - before < SIZE
