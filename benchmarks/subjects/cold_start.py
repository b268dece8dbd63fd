"""`oprel run guide hi` without a daemon, to its first token; and the same engine alone, from its start to one."""

import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.bench import Bench, Values
from benchmarks.chats import ChatServer
from benchmarks.figures import ENGINE, Figure
from benchmarks.models import GUIDE
from benchmarks.processes import Checkout, Engine, environment, running_daemon, until_ready


def measure(bench: Bench) -> Iterator[Figure]:
    with running_daemon() as daemon, TemporaryDirectory(prefix="oprel-bench-") as folder:
        engine = daemon.engine(GUIDE.name)
        sides: dict[str, Callable[[], Values]] = {
            side: partial(cold_run, checkout, Path(folder) / side.replace(" ", "-"))
            for side, checkout in bench.checkouts.items()
        }
        sides[ENGINE] = partial(bare_start, engine, Path(folder) / "engine.sock")
        rounds = bench.compare(sides)["ms"]
    yield Figure(subject="cold-start", name="oprel run guide hi: first token", unit="ms", rounds=rounds)


def cold_run(checkout: Checkout, home: Path) -> Values:
    surroundings = environment(home)
    command = [checkout.launcher, "run", "guide", "hi"]
    began = time.perf_counter()
    with subprocess.Popen(command, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        process.stdout.read(1)
        spent = time.perf_counter() - began
        process.stdout.read()
    subprocess.run([checkout.launcher, "stop", "--daemon"], env=surroundings, stdout=subprocess.DEVNULL, check=True)
    return {"ms": spent * 1e3}


def bare_start(engine: Engine, socket: Path) -> Values:
    began = time.perf_counter()
    with engine.starting(engine.arguments_on(socket), socket) as process:
        until_ready(socket, process)
        ready = time.perf_counter() - began
        first = ChatServer(f"unix:{socket}").send(1).first[0]
    return {"ms": ready * 1e3 + first}
