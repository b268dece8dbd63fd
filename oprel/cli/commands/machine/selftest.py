"""`oprel selftest`: checks that the installed engine works, and with --chaos that oprel recovers from faults."""

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from oprel.cli.options import config_from
from oprel.cli.screen import render

if TYPE_CHECKING:
    from oprel.selftest.running import Outcome

NAME_WIDTH, TIME_WIDTH = 33, 7
LOOK_SECONDS, BUSY_PERCENT = 0.3, 80.0  # how busy others keep the CPU after a failure


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("selftest", help="check that the engine works on this machine")
    parser.add_argument(
        "--chaos", action="store_true", help="also kill, stop and overload it, and report how it recovers"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file")
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.core.home import ensure_temporary_folder
    from oprel.selftest.checks import CHECKS
    from oprel.selftest.faults import FAULTS
    from oprel.selftest.running import Outcomes, outcomes

    config = config_from(args)
    ensure_temporary_folder(config)
    folder = Path(tempfile.mkdtemp(prefix="oprel-"))
    checks = (*CHECKS, *FAULTS) if args.chaos else CHECKS
    results: list[Outcome] = []
    try:
        for outcome in outcomes(checks, config, folder):
            results.append(outcome)
            if not args.json:
                _show(outcome)
    finally:
        passed = all(outcome.passed for outcome in results)
        if passed:
            shutil.rmtree(folder, ignore_errors=True)
    seconds = sum(outcome.seconds for outcome in results)
    not_run = [check.name for check in checks[len(results) :]]
    if args.json:
        render.json(Outcomes(passed=passed, seconds=seconds, checks=results, not_run=not_run))
    else:
        render.line(f"{sum(outcome.passed for outcome in results)} of {len(checks)} passed in {seconds:.0f} s")
    if not passed:
        _advise(folder, not_run)
    return 0 if passed else 1


def _advise(folder: Path, not_run: Sequence[str]) -> None:
    from oprel.telemetry.hardware.bandwidth import busy_percent

    if not_run:
        render.note(f"{len(not_run)} more were not run: they need what failed")
    if (busy := busy_percent(LOOK_SECONDS)) >= BUSY_PERCENT:
        render.note(f"other programs use {busy:.0f}% of the CPU: repeat `oprel selftest` on a quiet machine")
    render.note(f"the daemon's log is {folder}/daemon.log")


def _show(outcome: "Outcome") -> None:
    mark = "✓" if outcome.passed else "✗"
    recovery = "" if outcome.recovery_seconds is None else f"{outcome.recovery_seconds:.2f} s"
    head, width = f"{mark} {outcome.name:<{NAME_WIDTH}} {recovery:>{TIME_WIDTH}}   ", render.terminal_width()
    if width and len(head) + len(outcome.text) > width:
        render.line(head.rstrip())
        head = "  "
    render.prose(outcome.text, head)
