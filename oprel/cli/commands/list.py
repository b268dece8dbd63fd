"""`oprel list`: the models there are."""

import argparse
from datetime import UTC, datetime

from oprel.cli import render
from oprel.cli.options import add_address, config_from
from oprel.utils.text import human_interval, human_size


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("list", aliases=["ls"], help="list the models there are")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.client_api import Client

    with Client(config=config_from(args)) as client:
        found = client.list()
    if args.json:
        render.json(found)
        return 0
    rows = [(model.name, model.digest[:12], human_size(model.size), _ago(model.modified_at)) for model in found.models]
    render.table(("NAME", "ID", "SIZE", "MODIFIED"), rows)
    return 0


def _ago(moment: str) -> str:
    passed = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    return f"{human_interval(passed)} ago"
