"""`oprel doctor`: checks whether oprel can work on this machine, and says how to fix what is wrong."""

import argparse
from typing import TYPE_CHECKING

from oprel.cli.options import add_address, config_and_notes
from oprel.cli.screen import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oprel.cli.checkup import CheckupFinding
    from oprel.core.config import Config

SIGNS = {"ok": "✓", "warning": "!", "error": "✗"}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("doctor", help="check the engine, hardware, folders, disk and port")
    parser.add_argument("--security", action="store_true", help="check who may use the daemon instead")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    """Exit status 1 if any check found an error."""
    from oprel.cli.checkup import Report, examined

    report = Report(findings=[])
    config, notes = config_and_notes(args)
    for finding in _of_security(config) if args.security else examined(config, notes):
        report.findings.append(finding)
        if not args.json:
            render.prose(finding.text, f"{SIGNS[finding.level]} {finding.subject:11} ")
            for step in finding.advice:
                render.prose(step, " " * 14)
    if args.json:
        render.json(report)
    return 1 if any(finding.level == "error" for finding in report.findings) else 0


def _of_security(config: "Config") -> "Iterator[CheckupFinding]":
    from oprel.cli.checks.security_checks import security_findings

    return security_findings(config)
