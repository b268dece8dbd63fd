"""Tokens per second: what `oprel plan` predicts against what the engine measures, for real and random models.

usage: bin/bench speed [--models NAME|FILE ...] [--threads 1 2] [--busy 0 1] [--filled N] [--rounds 5] [--json]

A model is `guide`, a GGUF file, or one of tests/fixtures/random_models. The engine is started as the daemon would start
it, and answers with a quarter of a second of tokens in each round; the figure is the median. Before each model the
machine's memory is measured, as the daemon does. `--busy` starts so many endless shell loops beside it. All threads of
an engine wait for each other, so it goes on only while all of them run: beside others that is a matter of chance
(`share_beside`).

The load that is printed is that of all others: how many CPUs they kept busy meanwhile. A shared machine should be
quiet, or this program should come first (`nice -n -20`, with a scheduler that groups by session also for the group).
Exits with 1 if a quiet run or one beside a loop is further from its prediction than 25 %.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import httpx

from benchmarks.models import random_model
from benchmarks.processes import cpu_seconds, looping, over_socket, until_ready
from oprel.core.config import Config
from oprel.preview.plan import recommend
from oprel.preview.variants import variants_of
from oprel.telemetry.hardware import bandwidth
from oprel.telemetry.hardware.probing import Hardware, probe
from oprel.telemetry.recommender.budgets import budgets_of
from oprel.telemetry.recommender.planning import plan
from oprel.telemetry.recommender.settings import PlanConstraints
from oprel.telemetry.recommender.speed.prediction import tokens_per_second

BOUND = 0.25
SECONDS = 0.25  # of tokens in a round
CONTEXT = 4096
MODELS = ("guide", "qwen2", "mixtral")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Case:
    """`measured` and `predicted` in tokens per second; `load`: CPUs that others kept busy."""

    model: str
    threads: int
    busy: int
    measured: float
    predicted: float
    per_cpu_second: float
    load: float

    @property
    def ratio(self) -> float:
        return self.predicted / self.measured


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="NAME")
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--busy", nargs="+", type=int, default=(0, 1))
    parser.add_argument("--filled", type=int, default=8, help="tokens of the prompt")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    cases = []
    with tempfile.TemporaryDirectory(prefix="oprel-bench-") as folder:
        for name in options.models:
            path = model_file(name)
            machine = measured_machine()
            for threads in options.threads:
                for busy in options.busy:
                    case = measure(path, machine, threads, busy, options.filled, options.rounds, Path(folder))
                    cases.append(case)
                    if not options.json:
                        print_case(case)
    if options.json:
        print(json.dumps([{**asdict(case), "ratio": case.ratio} for case in cases]))
    return 0 if all(abs(case.ratio - 1) <= BOUND for case in cases) else 1


def model_file(name: str) -> str:
    """A path of a model, which is written if it is a random one; "guide" is a name that every home knows."""
    return name if name == "guide" or Path(name).exists() else str(random_model(name))


def measured_machine() -> Hardware:
    """This machine, its memory measured now."""
    machine = probe()
    with tempfile.TemporaryDirectory() as home:
        if rates := bandwidth.measure(machine):
            bandwidth.remember(Path(home), machine, rates)
        return bandwidth.recall(Path(home), machine)


def measure(path: str, machine: Hardware, threads: int, busy: int, filled: int, rounds: int, folder: Path) -> Case:
    config = Config(home=str(folder / "home"))
    constraints = PlanConstraints(context=CONTEXT, slots=1)
    tokens = max(8, round(SECONDS * prediction(path, machine, threads, filled, constraints, config)))
    predicted = prediction(path, machine, threads, filled + tokens // 2, constraints, config)
    predicted *= share_beside(busy, threads, machine.cpu.logical_cores)
    with ExitStack() as stack:
        command = recommend(path, constraints, config=config).command
        engine, client = stack.enter_context(started(command, threads))
        answer(client, filled, tokens)  # the first one reads the weights
        for _ in range(busy):
            stack.enter_context(looping())
        began, cpu, others = time.monotonic(), cpu_seconds(engine), busy_seconds()
        rates = [answer(client, filled, tokens) for _ in range(rounds)]
        spent = cpu_seconds(engine) - cpu
        load = (busy_seconds() - others - spent) / (time.monotonic() - began)
    return Case(
        model=Path(path).stem,
        threads=threads,
        busy=busy,
        measured=statistics.median(rates),
        predicted=predicted,
        per_cpu_second=rounds * tokens / spent,
        load=load,
    )


def prediction(
    path: str, machine: Hardware, threads: int, filled: int, constraints: PlanConstraints, config: Config
) -> float:
    budgets = replace(budgets_of(machine).without_gpus(), cores=threads)
    chosen = plan([variants_of(path, config)[0].candidate], budgets, constraints).chosen
    found = tokens_per_second(chosen.candidate, chosen.solution, budgets, filled)
    assert found
    return found


def share_beside(busy: int, threads: int, cores: int) -> float:
    """The part of the time in which all `threads` run, if `cores` of them and `busy` others run at any time."""
    if threads + busy <= cores:
        return 1.0
    return math.comb(busy, cores - threads) / math.comb(threads + busy, cores) if threads <= cores else 0.0


@contextmanager
def started(command: list[str], threads: int) -> Iterator[tuple[int, httpx.Client]]:
    """The pid of an engine and a client of it."""
    command = [*command]
    command[command.index("--threads") + 1] = str(threads)
    socket = Path(command[command.index("--host") + 1])
    socket.parent.mkdir(parents=True, exist_ok=True)
    socket.unlink(missing_ok=True)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            with over_socket(socket) as http:
                until_ready(socket, process)
                yield process.pid, http
        finally:
            process.kill()


def answer(client: httpx.Client, filled: int, tokens: int) -> float:
    """Tokens per second of an answer, by the engine's own clock."""
    prompt = [65 + number % 90 for number in range(filled)]
    body = {"prompt": prompt, "n_predict": tokens, "ignore_eos": True, "cache_prompt": True}
    response = client.post("/completion", json=body).raise_for_status().json()
    return float(response["timings"]["predicted_per_second"])


def busy_seconds() -> float:
    """Seconds in which CPUs of the machine were busy, together."""
    user, nice, system, _idle, _wait, irq, softirq, *_ = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / TICKS


def print_case(case: Case) -> None:
    verdict = "" if abs(case.ratio - 1) <= BOUND else "  too far"
    print(
        f"{case.model:24} {case.threads} threads, {case.busy} busy: measured {case.measured:7.1f}/s, "
        f"predicted {case.predicted:7.1f}/s, ratio {case.ratio:.2f}, {case.per_cpu_second:7.1f} per CPU second, "
        f"load of others {case.load:.1f}{verdict}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
