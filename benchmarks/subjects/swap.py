"""A request that replaces the loaded model by another one, and the start of that one's engine alone."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.bench import Bench, Values
from benchmarks.chats import ChatServer
from benchmarks.figures import ENGINE, OPREL, Figure
from benchmarks.models import GUIDE_FILE
from benchmarks.processes import Daemon, running_daemon
from benchmarks.subjects.cold_start import bare_start

MEMORY_MB = 80  # for one of them, not for two


def measure(bench: Bench) -> Iterator[Figure]:
    with TemporaryDirectory(prefix="oprel-bench-") as folder:
        files = [Path(folder) / name for name in ("a.gguf", "b.gguf")]
        for file in files:
            shutil.copyfile(GUIDE_FILE, file)
        with running_daemon(settings={"default_max_memory_mb": MEMORY_MB}) as daemon:
            engine = daemon.engine(str(files[0]))
            names = cycle(str(file) for file in reversed(files))
            sides: dict[str, Callable[[], Values]] = {
                OPREL: lambda: swapped(daemon, next(names)),
                ENGINE: partial(bare_start, engine, Path(folder) / "engine.sock"),
            }
            rounds = bench.compare(sides)["ms"]
    yield Figure(subject="swap", name="first token of the other model", unit="ms", rounds=rounds)


def swapped(daemon: Daemon, model: str) -> Values:
    first = ChatServer(daemon.address, model).send(1).first[0]
    (loaded,) = daemon.client.engines().models
    assert loaded.path == model
    return {"ms": first}
