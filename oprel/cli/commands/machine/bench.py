"""`oprel bench memory`: measures the memory bandwidth, which bounds the speed of models on the CPU."""

import argparse

from oprel.cli.options import add_home, config_from
from oprel.cli.screen import render
from oprel.core.exceptions import InsufficientMemoryError
from oprel.utils.text import human_size


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("bench", help="measure this machine's memory bandwidth")
    parser.add_argument("what", choices=("memory",), help="memory: its bandwidth in bytes per second")
    add_home(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.telemetry.hardware import bandwidth
    from oprel.telemetry.hardware.probing import probe

    config, hardware = config_from(args), probe()
    threads = hardware.cpu.threads
    runs = [rates for _ in range(3) if (rates := bandwidth.measure(hardware))]
    if not runs:
        raise InsufficientMemoryError(
            "too little memory is free to measure its bandwidth", "Stop a model: `oprel stop`."
        )
    best = bandwidth.Rates(max(run.memory for run in runs), max(run.core for run in runs))
    config.home_dir.mkdir(parents=True, exist_ok=True)
    bandwidth.remember(config.home_dir, hardware, best)
    render.line(f"{human_size(best.memory)}/s, read by {threads} threads; `oprel plan` uses this figure from now on")
    return 0
