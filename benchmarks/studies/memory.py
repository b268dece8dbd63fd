"""Compare `oprel.telemetry.memory.estimator` with the sizes that llama.cpp prints, by architecture.

usage: bin/bench memory [--live] [--models NAME ...] [--json]

Without `--live`, the reference is tests/data, printed by llama.cpp b11549. With it, the installed engine lays out its
memory for the same models (no weights are needed) and is killed before it would load them. Caches and states must be
equal, weights equal to the MiB that engines print, compute buffers within 1 % for dense models with flash attention
and within 10 % for others. Exits with 1 if a case fails.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Timer
from typing import Any

from oprel.formats.gguf import GGUFFile
from oprel.telemetry.memory.dims import dims_of
from oprel.telemetry.memory.estimator import MIB, estimate
from oprel.telemetry.memory.load_shape import LoadShape
from oprel.telemetry.memory.weights import weights_of
from oprel.telemetry.memory.widths import widths_of
from tests.fixtures.known_models import DATA, known_header, known_models, write_known_model

EXACT_MIB = 0.0101  # Engines print two decimals.
PRINTED_MIB = 2  # Engines print whole MiB for each of two kinds of buffers.
LIVE_SHAPES = (
    LoadShape(context=4096),
    LoadShape(context=8192, slots=4, unified=True, flash_attention=False),
)
DRY_RUN_SECONDS = 60
LAST_LINE = "projected to use"
DRY_RUN = """
import json, sys
import xllamacpp as llama

shape = json.loads(sys.argv[2])
params = llama.CommonParams()
params.model.path, params.hostnames = sys.argv[1], [sys.argv[1] + ".sock"]
params.fit_params, params.no_alloc, params.warmup, params.verbosity = True, True, False, 5
params.n_ctx, params.n_parallel, params.kv_unified = shape["context"], shape["slots"], shape["unified"]
params.n_batch, params.n_ubatch, params.swa_full = shape["batch"], shape["ubatch"], shape["swa_full"]
params.embedding = shape["embedding"]
types = (llama.ggml_type["GGML_TYPE_" + shape[name].upper()] for name in ("key_type", "value_type"))
params.cache_type_k, params.cache_type_v = types
attention = "ENABLED" if shape["flash_attention"] else "DISABLED"
params.flash_attn_type = llama.llama_flash_attn_type["LLAMA_FLASH_ATTN_TYPE_" + attention]
llama.Server(params)
"""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What an engine printed, in MiB. `weights` is None if it was not printed."""

    kv: float
    state: float
    compute: float
    output: float
    weights: float | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The errors of one case in MiB, that of `compute` relative to the printed size; `bound` is its limit."""

    model: str
    shape: LoadShape
    kv: float
    state: float
    output: float
    weights: float
    compute: float
    bound: float

    @property
    def passes(self) -> bool:
        exact = max(abs(self.kv), abs(self.state), abs(self.output)) <= EXACT_MIB and abs(self.weights) <= PRINTED_MIB
        return exact and abs(self.compute) <= self.bound


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--models", nargs="+", choices=known_models(), metavar="NAME")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = options.models or list(known_models())
    cases = [compare(name, shape, figures) for name, shape, figures in (live if options.live else stored)(names)]
    if options.json:
        print(json.dumps([asdict(case) for case in cases]))
    else:
        print_table(cases)
    return 0 if all(case.passes for case in cases) else 1


def stored(names: list[str]) -> Iterator[tuple[str, LoadShape, Figures]]:
    for name, shape, kv, state, compute, output in json.loads((DATA / "memory_cases.json").read_text())["printed"]:
        if name in names:
            yield name, LoadShape(**shape), Figures(kv=kv, state=state, compute=compute, output=output)


def live(names: list[str]) -> Iterator[tuple[str, LoadShape, Figures]]:
    with tempfile.TemporaryDirectory(prefix="oprel-bench-") as folder:
        for name in names:
            path = write_known_model(Path(folder) / "m.gguf", name)
            for shape in LIVE_SHAPES:
                shape = replace(shape, embedding=not dims_of(known_header(name)).causal)
                yield name, shape, dry_run(path, shape)


def dry_run(path: Path, shape: LoadShape) -> Figures:
    """What the engine prints before it would load the model. It is killed then."""
    command = [sys.executable, "-c", DRY_RUN, str(path), json.dumps(asdict(shape))]
    log = ""
    path.with_name(path.name + ".sock").unlink(missing_ok=True)  # A killed engine leaves it.
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as engine:
        assert engine.stdout
        limit = Timer(DRY_RUN_SECONDS, engine.kill)
        limit.start()
        for line in engine.stdout:
            log += line
            if LAST_LINE in line:
                break
        limit.cancel()
        engine.kill()
    if LAST_LINE not in log:
        raise SystemExit(f"bench: the engine did not lay out {path}:\n{log[-2000:]}")
    return Figures(
        kv=sum(_numbers(r"llama_kv_cache: size = +([\d.]+) MiB", log)),
        state=sum(_numbers(r"llama_memory_recurrent: size = +([\d.]+) MiB", log)),
        compute=_numbers(r"CPU compute buffer size = +([\d.]+)", log)[-1],
        output=_numbers(r"output buffer size = +([\d.]+)", log)[-1],
        weights=sum(_numbers(r"\|   - \w+ +\| +\d+ = +(\d+) ", log)),
    )


def _numbers(pattern: str, log: str) -> list[float]:
    return [float(number) for number in re.findall(pattern, log)]


def compare(name: str, shape: LoadShape, printed: Figures) -> Comparison:
    header = known_header(name)
    dims, ours = dims_of(header), estimate(header, shape)
    recurs = any(layer.recurrent for layer in dims.layers)
    is_dense = dims.causal and not widths_of(header).expert and not recurs
    return Comparison(
        model=name,
        shape=shape,
        kv=ours.kv_bytes / MIB - printed.kv,
        state=ours.state_bytes / MIB - printed.state,
        output=ours.output_bytes / MIB - printed.output,
        weights=_weights_error(header, printed.weights),
        compute=ours.compute_bytes / MIB / printed.compute - 1,
        bound=0.01 if is_dense and shape.flash_attention else 0.1,
    )


def _weights_error(header: GGUFFile, printed: float | None) -> float:
    """The error in MiB. Without mmap, an engine may hold an embedding that is also the output twice."""
    weights = weights_of(header)
    kept = (weights.total, weights.total + weights.shared_output)
    return min((size / MIB - printed for size in kept), key=abs) if printed is not None else 0


def print_table(cases: list[Comparison]) -> None:
    print("largest errors        models cases    KV MiB   state  output weights  compute FA  no FA   passed")
    architectures: dict[str, list[Comparison]] = {}
    for case in cases:
        architectures.setdefault(known_header(case.model).architecture, []).append(case)
    for architecture, group in [*sorted(architectures.items()), ("all", cases)]:
        passed = sum(case.passes for case in group)
        exact: dict[str, Any] = {
            part: max(abs(getattr(case, part)) for case in group) for part in ("kv", "state", "output", "weights")
        }
        print(
            f"{architecture:22}{len({case.model for case in group}):6}{len(group):6}"
            f"{exact['kv']:10.3f}{exact['state']:8.3f}{exact['output']:8.3f}{exact['weights']:8.0f}"
            f"{_worst(group, attention=True):>12}{_worst(group, attention=False):>7}{passed:>6}/{len(group)}"
        )
    for case in cases:
        if not case.passes:
            print("failed:", case)


def _worst(cases: list[Comparison], *, attention: bool) -> str:
    errors = [case.compute for case in cases if case.shape.flash_attention is attention]
    return f"{max(errors, key=abs):+.1%}" if errors else "-"


if __name__ == "__main__":
    sys.exit(main())
