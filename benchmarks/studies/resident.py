"""The memory of real engines, with every slot filled, beside what a plan expects and reserves.

usage: bin/bench resident [--models NAME|FILE ...] [--contexts N ...] [--types f16 q8_0] [--slots 1 4] [--json FILE]

Each case starts the engine as the daemon does, fills all slots at once, and compares the peak of the resident memory
of its process with the expected figure. Then it fills the slots with further conversations, until the prompt cache is
full, and compares the peak with the reserved figure. Exits with 1 if the median error exceeds 3 %, any 10 %, or a peak
the reserved memory.
"""

import argparse
import itertools
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from benchmarks.models import GEMMA_FILE, GUIDE_FILE, random_model
from benchmarks.processes import ROOT, over_socket, peak_bytes, until_ready
from oprel.core.completion import LoadOptions, Mode
from oprel.formats.gguf import GGUFFile, read_gguf
from oprel.runtime.backends.engines import llama_cpp
from oprel.runtime.backends.engines.llama_log import buffers_of
from oprel.runtime.backends.specs import LoadConstraints, spec_of
from oprel.runtime.spec import EngineSpec, ModelFiles
from oprel.telemetry.calibration.learning import Buffers
from oprel.telemetry.memory.estimator import MIB, footprint_of
from oprel.telemetry.recommender.budgets import Budgets
from oprel.telemetry.recommender.candidates import Candidate
from oprel.telemetry.recommender.placement import Solution
from oprel.telemetry.recommender.planning import Plan, plan
from oprel.telemetry.recommender.settings import PlanConstraints
from tests.fixtures.random_models import RANDOM_MODELS

ENGINE = (sys.executable, "-m", "oprel.runtime.binaries.wheel")
MACHINE = Budgets(host=2 * 1024 * MIB)
CONTEXTS, TYPES, SLOTS = (256, 768, 1536), ("f16", "q8_0"), (1, 4)
MEDIAN, WORST = 0.03, 0.10
ANSWER = 8  # tokens


@dataclass(frozen=True, kw_only=True)
class Case:
    """One load. Bytes; `full` is the peak after the first fill, `peak` that in the end."""

    model: str
    context: int
    cache_type: str
    slots: int
    embeds: bool
    expected: int
    reserved: int
    full: int
    peak: int
    parts: dict[str, int]
    measured: dict[str, int]

    @property
    def error(self) -> float:
        return self.expected / self.full - 1

    @property
    def passes(self) -> bool:
        return abs(self.error) <= WORST and self.peak <= self.reserved


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", metavar="NAME|FILE")
    parser.add_argument("--contexts", nargs="+", type=int, default=CONTEXTS, help="tokens of each slot")
    parser.add_argument("--types", nargs="+", default=TYPES)
    parser.add_argument("--slots", nargs="+", type=int, default=SLOTS)
    parser.add_argument("--program", nargs="+", default=ENGINE, help="another llama-server")
    parser.add_argument(
        "--further", type=int, default=2, help="conversations of each slot after the first (default: 2)"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cases = []
    for file in files_of(options.models):
        for context, cache_type, slots in itertools.product(options.contexts, options.types, options.slots):
            case = measured(
                file,
                PlanConstraints(context=context, slots=slots, key_type=cache_type, threads=1),
                options.program,
                options.further,
            )
            if case:
                print(line(case), flush=True)
                cases.append(case)
                if options.json:
                    options.json.write_text(json.dumps([asdict(case) for case in cases], indent=1))
    median = statistics.median(abs(case.error) for case in cases)
    print(f"{len(cases)} loads: median {median:.1%}, worst {max(abs(case.error) for case in cases):.1%}, ", end="")
    print(f"{sum(case.peak > case.reserved for case in cases)} above what was reserved")
    return 0 if median <= MEDIAN and all(case.passes for case in cases) else 1


def files_of(names: list[str] | None) -> Iterator[Path]:
    for name in names or ["guide", "gemma", *(name for name in RANDOM_MODELS if not name.startswith("vocab-"))]:
        if name in RANDOM_MODELS:
            yield random_model(name)
        else:
            yield {"guide": GUIDE_FILE, "gemma": GEMMA_FILE}.get(name, Path(name))


def measured(file: Path, constraints: PlanConstraints, program: list[str], further: int) -> Case | None:
    """None if the model cannot have that context."""
    header = read_gguf(file)
    causal = footprint_of(header).dims.causal
    if (constraints.context or 0) > (header.context_length or 0):
        return None
    if not causal:
        if constraints.slots != 1 or constraints.key_type != TYPES[0]:
            return None
        constraints = PlanConstraints(context=constraints.context, embedding=True, threads=1)
    found = plan_of(header, constraints)
    with tempfile.TemporaryDirectory(prefix="oprel-bench-") as run_dir, tempfile.TemporaryFile() as log:
        spec = spec_for(file, found, run_dir)
        command = [*program, *llama_cpp.arguments(spec, frozenset(llama_cpp.DISPENSABLE))]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
        try:
            with over_socket(spec.socket) as engine:
                until_ready(spec.socket, process)
                fill(engine, header, found.solution, spec, range(spec.parallel))
                full = peak_bytes(process.pid)
                if spec.mode is Mode.COMPLETION:
                    others = range(spec.parallel, (1 + further) * spec.parallel)
                    fill(engine, header, found.solution, spec, others)
                peak = peak_bytes(process.pid)
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        buffers = buffers_of(log.read().decode(errors="replace").splitlines())
    assert buffers
    return case_of(file.stem, constraints, found.solution, full, peak, buffers)


def plan_of(header: GGUFFile, constraints: PlanConstraints) -> Plan:
    candidate = Candidate(label=header.quantization, footprint=footprint_of(header), parameters=header.parameter_count)
    return plan([candidate], MACHINE, constraints)


def spec_for(file: Path, found: Plan, folder: str) -> EngineSpec:
    """The engine of the plan, with its socket in `folder`."""
    return spec_of(
        found,
        LoadConstraints(
            files=ModelFiles(file),
            socket=Path(folder) / "e.sock",
            load=LoadOptions(),
            mode=Mode.EMBEDDING if found.constraints.embedding else Mode.COMPLETION,
            pooling="mean" if found.constraints.embedding else None,
        ),
    )


def fill(engine: httpx.Client, header: GGUFFile, solution: Solution, spec: EngineSpec, numbers: range) -> None:
    """Conversations that each fill a slot, as many at once as there are slots."""
    length = solution.setting.context - ANSWER - 4
    tokens = header.vocabulary_size or 0

    def converse(number: int) -> None:
        dice = random.Random(number)
        prompt = [dice.randrange(tokens // 4, tokens - tokens // 8) for _ in range(length)]
        if spec.mode is Mode.COMPLETION:
            body = {"prompt": prompt, "n_predict": ANSWER, "ignore_eos": True, "temperature": 0.7}
            response = engine.post("/completion", json=body)
        else:
            response = engine.post("/embedding", json={"content": prompt})
        assert response.status_code == 200, response.text

    with ThreadPoolExecutor(spec.parallel) as pool:
        list(pool.map(converse, numbers))


def case_of(
    model: str, constraints: PlanConstraints, solution: Solution, full: int, peak: int, buffers: Buffers
) -> Case:
    host, process = solution.estimate.host, solution.estimate.process
    return Case(
        model=model,
        context=constraints.context or 0,
        cache_type=constraints.key_type or "f16",
        slots=solution.setting.slots,
        embeds=solution.setting.embedding,
        expected=solution.host_expected,
        reserved=solution.host_needs,
        full=full,
        peak=peak,
        parts=asdict(process)
        | {
            "weights": host.weights + host.repacked,
            "kv": host.kv,
            "state": host.state,
            "compute": host.compute,
            "output": host.output,
            "checkpoints": solution.pool.expected,
        },
        measured={
            "weights": buffers.weights,
            "kv": buffers.kv,
            "state": buffers.state,
            "compute": buffers.compute,
            "output": buffers.output,
        },
    )


def line(case: Case) -> str:
    what = f"{case.model:14} {case.context:5} x {case.slots} {case.cache_type:5}"
    sizes = " ".join(f"{size / MIB:7.1f}" for size in (case.expected, case.full, case.reserved, case.peak))
    rest = case.full - sum(case.measured.values()) - case.parts["checkpoints"]
    ours = sum(case.parts[name] for name in ("private", "shared", "tokenizer", "outputs", "threads"))
    process = f"process {rest / MIB:6.1f} estimated {ours / MIB:6.1f}"
    return f"{what} {sizes} {case.error:+6.1%} {process}{'' if case.passes else ' !'}"


if __name__ == "__main__":
    sys.exit(main())
