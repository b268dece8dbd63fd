"""Whether what a plan admits really fits into its budget, and what it refuses does not.

usage: bin/bench limits [--steps 20] [--from 0.6] [--to 1.5] [--json FILE]

For budgets around what a model needs, the planner decides. Then the engine runs with its plan, or with the smallest
plan if it refuses, in a memory control group that allows exactly the budget, and its slots are filled. The group is of
version 1 and needs root. Memory that the machine can take back (pages of the libraries) counts, as in the plan: a run
in which the engine was not killed but its group was at its limit did not fit. Exits with 1 if an admitted engine was
killed or failed, or more than one refused engine would have fitted.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from benchmarks.models import random_model
from benchmarks.processes import ROOT, NotStarted, over_socket, peak_bytes, until_ready
from benchmarks.studies.resident import ENGINE, fill, spec_for
from oprel.formats.gguf import GGUFFile, read_gguf
from oprel.runtime.backends.engines import llama_cpp
from oprel.telemetry.memory.estimator import MIB, footprint_of
from oprel.telemetry.recommender.budgets import Budgets
from oprel.telemetry.recommender.candidates import Candidate
from oprel.telemetry.recommender.planning import Plan, plan
from oprel.telemetry.recommender.settings import PlanConstraints

GROUPS = Path("/sys/fs/cgroup/memory")
MODEL = "deep-cache"
ASKED = PlanConstraints(context=2048, key_type="f16")
ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


@dataclass(frozen=True, kw_only=True)
class Step:
    """One budget in bytes, what was planned for it, and whether the engine `survived` in it; `peak` is its own."""

    share: float
    budget: int
    admitted: bool
    reserved: int
    slots: int
    survived: bool
    peak: int

    @property
    def fitted(self) -> bool:
        """Whether the engine lived and had all its memory within the budget."""
        return self.survived and self.peak <= self.budget


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--from", dest="low", type=float, default=0.6)
    parser.add_argument("--to", dest="high", type=float, default=1.5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    file = random_model(MODEL)
    header = read_gguf(file)
    need = planned(header, Budgets(host=0)).solution.host_needs
    steps = []
    for number in range(options.steps):
        share = options.low + (options.high - options.low) * number / (options.steps - 1)
        step = tried(file, header, share, int(share * need))
        print(line(step), flush=True)
        steps.append(step)
    if options.json:
        options.json.write_text(json.dumps([asdict(step) for step in steps], indent=1))
    failed = sum(step.admitted and not step.fitted for step in steps)
    missed = sum(not step.admitted and step.fitted for step in steps)
    print(
        f"{failed} of {sum(step.admitted for step in steps)} admitted did not fit; {missed} refused would have fitted"
    )
    return 0 if failed == 0 and missed <= 1 else 1


def planned(header: GGUFFile, budgets: Budgets) -> Plan:
    candidate = Candidate(label=header.quantization, footprint=footprint_of(header), parameters=header.parameter_count)
    return plan([candidate], budgets, ASKED)


def tried(file: Path, header: GGUFFile, share: float, budget: int) -> Step:
    """Run the engine in a group that allows `budget` bytes, with the plan for it or the smallest one."""
    found = planned(header, Budgets(host=budget))
    run_dir = tempfile.TemporaryDirectory(prefix="oprel-bench-")
    with group(budget) as folder, run_dir as sockets, tempfile.TemporaryFile() as log:
        spec = spec_for(file, found, sockets)
        arguments = llama_cpp.arguments(spec, frozenset(llama_cpp.DISPENSABLE))
        command = ["sh", "-c", ENTER, str(folder), *ENGINE, *arguments]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
        peak = 0
        try:
            with over_socket(spec.socket) as engine:
                until_ready(spec.socket, process)
                for first in range(0, 2 * spec.parallel, spec.parallel):
                    fill(engine, header, found.solution, spec, range(first, first + spec.parallel))
                    peak = peak_bytes(process.pid)
                survived = process.poll() is None
        except (httpx.HTTPError, AssertionError, NotStarted):
            survived = False
        finally:
            process.kill()
            process.wait()
    return Step(
        share=share,
        budget=budget,
        admitted=found.fits,
        reserved=found.solution.host_needs,
        slots=found.solution.setting.slots,
        survived=survived,
        peak=peak,
    )


@contextmanager
def group(limit: int) -> Iterator[Path]:
    """A control group without swap that allows `limit` bytes."""
    folder = GROUPS / f"oprel-bench-{os.getpid()}"
    folder.mkdir()
    try:
        (folder / "memory.limit_in_bytes").write_text(str(limit))
        yield folder
    finally:
        folder.rmdir()


def line(step: Step) -> str:
    verdict = "admitted" if step.admitted else "refused"
    fate = "fitted" if step.fitted else "lived beyond it" if step.survived else "was killed or failed"
    sizes = f"budget {step.budget / MIB:6.0f} reserved {step.reserved / MIB:6.0f} peak {step.peak / MIB:6.0f} MiB"
    return f"{step.share:5.2f} {sizes} {step.slots} slot(s): {verdict}, {fate}"


if __name__ == "__main__":
    sys.exit(main())
