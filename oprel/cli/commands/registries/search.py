"""`oprel search WORDS`: finds models that can be pulled."""

import argparse
from typing import TYPE_CHECKING

from oprel.cli.options import add_address, add_columns, columns_from, config_from
from oprel.cli.screen import render
from oprel.cli.screen.table import Column, shorter_name
from oprel.utils.text import human_count

if TYPE_CHECKING:
    from oprel.wire.downloads import FoundModel

COLUMNS = (
    Column("NAME", shorter=shorter_name),
    Column("DOWNLOADS", 2),
    Column("LIKES", 3),
    Column("MODIFIED", 1),
    Column("GATED", 4),
)


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("search", help="find models on Hugging Face")
    parser.add_argument("words", nargs="*", help="words that the name must contain")
    parser.add_argument(
        "--limit", type=int, default=20, metavar="N", help="number of models to show (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_columns(parser, COLUMNS)
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.client_api import Client

    with Client(config=config_from(args)) as client, render.waiting("asking Hugging Face"):
        results = client.search(" ".join(args.words), limit=args.limit)
    if args.json:
        render.json(results)
    elif not results.models:
        render.note("no models found; try fewer words")
    else:
        render.table(COLUMNS, map(_row, results.models), columns_from(args))
    return 0


def _row(model: "FoundModel") -> tuple[str, ...]:
    gated = "yes" if model.gated else ""
    return model.name, human_count(model.downloads), human_count(model.likes), model.modified_at[:10], gated
