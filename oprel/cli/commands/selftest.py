"""`oprel selftest`: does the installed engine work here, and with --chaos, does it survive what can go wrong?"""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from oprel.cli.options import config_from
from oprel.cli.screen import render

if TYPE_CHECKING:
    from oprel.selftest.running import Outcome

NAME_WIDTH, TIME_WIDTH = 33, 7


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "selftest",
        help="check that the engine works here",
        description="Check the engine, on a daemon and a home of its own. Your models and your daemon are not touched.",
    )
    parser.add_argument("--chaos", action="store_true", help="also kill, stop and crowd it, and tell how it recovers")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file")
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.selftest.checks import CHECKS
    from oprel.selftest.faults import FAULTS
    from oprel.selftest.running import Outcomes, outcomes

    folder = Path(tempfile.mkdtemp(prefix="oprel-"))
    found: list[Outcome] = []
    try:
        for outcome in outcomes((*CHECKS, *FAULTS) if args.chaos else CHECKS, config_from(args), folder):
            found.append(outcome)
            if not args.json:
                _show(outcome)
    finally:
        passed = all(outcome.passed for outcome in found)
        if passed:
            shutil.rmtree(folder, ignore_errors=True)
    seconds = sum(outcome.seconds for outcome in found)
    if args.json:
        render.json(Outcomes(passed=passed, seconds=seconds, checks=found))
    else:
        render.line(f"{sum(outcome.passed for outcome in found)} of {len(found)} passed in {seconds:.0f} s")
    if not passed:
        render.note(f"the daemon's log is {folder}/daemon.log")
    return 0 if passed else 1


def _show(outcome: "Outcome") -> None:
    mark = "✓" if outcome.passed else "✗"
    recovery = "" if outcome.recovery_seconds is None else f"{outcome.recovery_seconds:.2f} s"
    render.line(f"{mark} {outcome.name:<{NAME_WIDTH}} {recovery:>{TIME_WIDTH}}   {outcome.text}")
