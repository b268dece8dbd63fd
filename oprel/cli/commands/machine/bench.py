"""`oprel bench run MODEL` measures models, `oprel bench memory` the memory bandwidth, which bounds them on the CPU."""

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from oprel.cli.options import add_address, add_columns, columns_from, config_from, suggesting_names
from oprel.cli.screen import render
from oprel.cli.screen.table import Column, ColumnChoice, shorter_name
from oprel.core.config import Config
from oprel.core.exceptions import InsufficientMemoryError, ValidationError
from oprel.utils.process import systems
from oprel.utils.text import human_interval, human_size

if TYPE_CHECKING:
    from oprel.telemetry.hardware.probing import Hardware
    from oprel.wire.benchmarks import Benchmark, ComparedBenchmark

COLUMNS = (
    *(Column("MODEL", shorter=shorter_name), Column("QUANT", 2), "PREFILL/S", "TOKENS/S", "FIRST TOKEN"),
    *(Column("MEMORY", 1), Column("EXPECTED", 3)),
)
HISTORY = "benchmarks.jsonl"
STEADY = 0.02  # a change below this part is none
RUNS, BUSY_RUNS = 5, 12  # of the memory: on a busy machine more, since some find a quiet moment
LOOK_SECONDS, BUSY_PERCENT = 0.3, 20.0  # how busy others keep the CPU before
REPEATED = 0.1  # the two best runs differ by less, or the best one is chance


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("bench", help="measure how fast models are on this machine, or its memory")
    parser.add_argument(
        "what", choices=("run", "memory"), help="run: models; memory: its bandwidth in bytes per second"
    )
    parser.add_argument("names", nargs="*", metavar="MODEL", help="for run; a name without a tag means all of its tags")
    parser.add_argument("--json", action="store_true", help="for run: print JSON")
    add_columns(parser, COLUMNS)
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    if args.what == "run":
        return _run(args)
    if args.names:
        raise ValidationError("`oprel bench memory` takes no model", "To measure one: `oprel bench run MODEL`.")
    return _memory(config_from(args))


def _run(args: argparse.Namespace) -> int:
    from oprel.cli.benchmarks.benchmark import benchmark, subjects
    from oprel.cli.benchmarks.history import history, previous, remember
    from oprel.client_api import Client
    from oprel.telemetry.hardware.probing import probe
    from oprel.wire.benchmarks import BenchmarksResponse, ComparedBenchmark

    if not args.names:
        raise ValidationError("no model was given", "Write its name: `oprel bench run MODEL`.")
    config = config_from(args)
    file, compared = config.home_dir / HISTORY, list[ComparedBenchmark]()
    hardware = probe()
    if not config.host and (text := business(systems.load_average(), hardware.cpu.threads)):
        render.note(text)
    with Client(config=config) as client, suggesting_names(client, args.names[0]):
        machine = config.host or _machine(hardware)
        for model in subjects(client.list().models, args.names):
            with render.waiting(f"measuring {model.name}"):
                measured = benchmark(client, model, machine)
            compared.append(ComparedBenchmark(benchmark=measured, previous=previous(measured, history(file))))
            remember(file, [measured])
    if args.json:
        render.json(BenchmarksResponse(benchmarks=compared))
    else:
        _show(compared, columns_from(args))
    return 0


def _machine(hardware: "Hardware") -> str:
    parts = [hardware.cpu.name or "CPU", f"{hardware.cpu.threads} threads", *(gpu.name for gpu in hardware.gpus)]
    return ", ".join(parts)


def _show(compared: "Sequence[ComparedBenchmark]", choice: ColumnChoice) -> None:
    render.table(COLUMNS, [_row(each.benchmark) for each in compared], choice)
    for each in compared:
        if before := each.previous:
            render.note(f"{each.benchmark.model}, compared with {ago(before.at)}: {changes(each.benchmark, before)}")


def ago(at: str) -> str:
    seconds = (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()
    return f"{human_interval(seconds)} ago"


def business(load: float, threads: int) -> str | None:
    """What to say about other programs that run while models are measured. `load`: threads that want a CPU.

    >>> business(0.4, 2), business(3.0, 2)
    (None, 'other programs use the CPU (load 3.0 on 2 threads): on a quiet machine models are faster')
    """
    if load < threads / 2:
        return None
    return f"other programs use the CPU (load {load:.1f} on {threads} threads): on a quiet machine models are faster"


def _row(measured: "Benchmark") -> tuple[str, ...]:
    return (
        measured.model,
        measured.quantization,
        shown_speed(measured.prefill_speed),
        shown_speed(measured.decode_speed),
        f"{measured.first_token_seconds * 1000:.0f} ms",
        human_size(measured.memory_bytes) if measured.memory_bytes else "-",
        human_size(measured.expected_bytes),
    )


def shown_speed(tokens_per_second: float) -> str:
    """
    >>> shown_speed(4321.6), shown_speed(3.14159), shown_speed(0.0)
    ('4322', '3.1', '-')
    """
    return f"{tokens_per_second:.{1 if tokens_per_second < 100 else 0}f}" if tokens_per_second else "-"


def changes(now: "Benchmark", before: "Benchmark") -> str:
    """What is faster or slower than before, in words."""
    figures = {
        "prefill": (now.prefill_speed, before.prefill_speed),
        "tokens/s": (now.decode_speed, before.decode_speed),
        "first token": (before.first_token_seconds, now.first_token_seconds),  # less is better
        "memory": (now.memory_bytes, before.memory_bytes),
    }
    words = {"memory": ("more", "less")}
    changed = [
        f"{name} {abs(ratio - 1):.0%} {words.get(name, ('faster', 'slower'))[ratio < 1]}"
        for name, (value, other) in figures.items()
        if value and other and abs((ratio := value / other) - 1) >= STEADY
    ]
    return ", ".join(changed) or "no change"


def _memory(config: Config) -> int:
    from oprel.telemetry.hardware import bandwidth
    from oprel.telemetry.hardware.probing import probe

    hardware = probe()
    busy = bandwidth.busy_percent(LOOK_SECONDS)
    count = RUNS if busy < BUSY_PERCENT else BUSY_RUNS
    with render.waiting("measuring the memory"):
        runs = [rates for _ in range(count) if (rates := bandwidth.measure(hardware))]
    if not runs:
        raise InsufficientMemoryError(
            "too little memory is free to measure its bandwidth", "Stop a model: `oprel stop`."
        )
    best = bandwidth.Rates(max(run.memory for run in runs), max(run.core for run in runs))
    before = bandwidth.recall(config.home_dir, hardware)
    earlier = bandwidth.Rates(before.memory.bandwidth_bytes or 0, before.cpu.scan_bytes or 0)
    if doubt := doubts(busy, [run.memory for run in runs]):
        best = bandwidth.Rates(max(best.memory, earlier.memory), max(best.core, earlier.core))
    config.home_dir.mkdir(parents=True, exist_ok=True)
    bandwidth.remember(config.home_dir, hardware, best)
    whose = f"the best of {len(runs)} runs" if best.memory != earlier.memory else "measured earlier"
    render.line(
        f"{human_size(best.memory)}/s, {whose}, read by {hardware.cpu.threads} threads; "
        "`oprel plan` uses this figure from now on"
    )
    if doubt:
        render.note(f"{doubt}; repeat `oprel bench memory` on a quiet machine")
    return 0


def doubts(busy: float, runs: Sequence[int]) -> str | None:
    """Why the best of these runs may be too low, None if it is not. `busy`: percent of the CPU that others used.

    >>> doubts(3, [99, 100, 98]), doubts(99, [50, 60]), doubts(3, [50, 60, 100])
    (None, 'other programs used 99% of the CPU', 'the runs differ by 40%')
    """
    if busy >= BUSY_PERCENT:
        return f"other programs used {busy:.0f}% of the CPU"
    best, *others = sorted(runs, reverse=True)
    apart = 1 - max(others, default=0) / best
    return f"the runs differ by {apart:.0%}" if apart > REPEATED else None
