"""`oprel hardware`: shows what this machine offers to models, and what limits its use."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from oprel.cli.options import add_columns, add_home, columns_from, config_from
from oprel.cli.screen import render
from oprel.cli.screen.table import Column
from oprel.utils.text import human_size

if TYPE_CHECKING:
    from oprel.core.config import Config
    from oprel.telemetry.hardware.devices import CPU, GPU, Memory
    from oprel.telemetry.hardware.probing import Hardware

COLUMNS = ("PART", Column("NAME", wraps=True), "MEMORY", "FREE", Column("MORE", 1, wraps=True))
LITTLE_MEMORY = 2 * 10**9  # bytes
# Instruction sets that affect the speed of engines.
FAST_FEATURES = ("avx", "avx2", "avx512f", "avx512_vnni", "amx_int8", "asimd", "asimddp", "i8mm", "sve", "sme", "v")

Row = tuple[str, str, str, str, str]


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("hardware", help="show the CPU, memory and GPUs that models can use")
    parser.add_argument("--json", action="store_true", help="print JSON, for `oprel plan --hardware` on any machine")
    add_columns(parser, COLUMNS)
    add_home(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.telemetry.hardware.listed import unlisted
    from oprel.telemetry.hardware.probing import this_machine

    config = config_from(args)
    machine = this_machine(config.hardware)
    hardware = as_seen(machine, config)
    if args.json:
        render.json(hardware.to_json())
        return 0
    others = [(*_gpu(gpu)[:4], "not seen by the engine") for gpu in unlisted(machine, hardware)]
    rows = [_cpu(hardware.cpu), _memory(hardware.memory), *map(_gpu, hardware.gpus), *others]
    render.table(COLUMNS, rows, columns_from(args))
    for text in (*hardware.notes, *advice(hardware)):
        render.note(text)
    return 0


def as_seen(machine: "Hardware", config: "Config") -> "Hardware":
    """The machine with the GPUs that llama.cpp's program here lists; as drivers report it where that lists none."""
    import asyncio

    from oprel.core.exceptions import NoEngineError
    from oprel.runtime.binaries.engine_binaries import EngineBinaries
    from oprel.telemetry.hardware.listed import seen_by

    try:
        devices = EngineBinaries.of(config).devices(wheel_too=bool(machine.gpus))
        return seen_by(machine, asyncio.run(devices) or None)
    except NoEngineError:
        return machine


def advice(hardware: "Hardware") -> Iterator[str]:
    """What slows models down or limits their size."""
    cpu, memory = hardware.cpu, hardware.memory
    if not hardware.gpus:
        yield "no usable GPU found: models run on the CPU"
    if {"pni", "sse3"} & {*cpu.features} and "avx2" not in cpu.features:
        yield "the CPU has no AVX2: models are slow on it"
    if cpu.quota is not None and cpu.quota < cpu.physical_cores:
        yield f"the container may use {cpu.quota:.3g} of {cpu.physical_cores} cores: engines use {cpu.threads}"
    yield from map(str, memory.limits)
    if memory.limit_bytes is not None and not memory.limits:  # in a description
        yield f"a limit allows {human_size(memory.limit_bytes)} of the machine's memory"
    if memory.available_bytes < LITTLE_MEMORY:
        yield "little memory is free: stop other programs, or unload models (`oprel ps`, `oprel stop`)"
    if any(gpu.integrated for gpu in hardware.gpus):
        yield "an integrated GPU shares the machine's memory: the two figures are the same memory"
    if metal := next((gpu for gpu in hardware.gpus if gpu.vendor == "apple"), None):
        yield f"Metal allows the GPU {human_size(metal.total_bytes)} (`sysctl iogpu.wired_limit_mb`)"


def _cpu(cpu: "CPU") -> Row:
    fast = f", {cpu.performance_cores} of them fast" if cpu.performance_cores else ""
    cores = f"{_counted(cpu.physical_cores, 'core')}{fast}, {_counted(cpu.logical_cores, 'thread')}"
    return (
        "CPU",
        cpu.name,
        "",
        "",
        " ".join([cores, *(feature for feature in FAST_FEATURES if feature in cpu.features)]),
    )


def _memory(memory: "Memory") -> Row:
    free = f"{human_size(memory.swap_free_bytes)} of {human_size(memory.swap_total_bytes)} swap free"
    swap = free if memory.swap_total_bytes else "no swap"
    return "memory", "", human_size(memory.usable_bytes), human_size(memory.available_bytes), swap


def _gpu(gpu: "GPU") -> Row:
    bandwidth = f"{human_size(gpu.bandwidth_bytes)}/s" if gpu.bandwidth_bytes else ""
    more = ("integrated" if gpu.integrated else "", gpu.architecture, gpu.driver and f"driver {gpu.driver}", bandwidth)
    return (
        f"GPU {gpu.index}",
        gpu.name,
        human_size(gpu.total_bytes),
        human_size(gpu.free_bytes),
        " ".join(filter(None, more)),
    )


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
