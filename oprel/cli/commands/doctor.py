"""`oprel doctor`: whether this machine is fit for oprel, and what to do where it is not."""

import argparse

from oprel.cli.options import add_address, config_from
from oprel.cli.screen import render

SIGNS = {"ok": "✓", "warning": "!", "error": "✗"}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("doctor", help="check the engine, hardware, folders, disk and port")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    """1 when anything is wrong that oprel cannot work with."""
    from oprel.cli.checkup import Report, examined

    report = Report(findings=[])
    for finding in examined(config_from(args)):
        report.findings.append(finding)
        if not args.json:
            render.line(f"{SIGNS[finding.level]} {finding.subject:11} {finding.text}")
            for step in finding.advice:
                render.line(f"{'':13} {step}")
    if args.json:
        render.json(report)
    return 1 if any(finding.level == "error" for finding in report.findings) else 0
