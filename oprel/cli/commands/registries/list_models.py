"""`oprel list-models`: lists the short names of models that can be pulled."""

import argparse
from typing import TYPE_CHECKING

from oprel.cli.options import add_address, add_columns, columns_from, config_from
from oprel.cli.screen import render
from oprel.cli.screen.table import Column

COLUMNS = (
    *("NAME", Column("SIZES", wraps=True), Column("CAPABILITIES", 1, wraps=True), Column("LICENSE", 2)),
    Column("GOOD FOR", wraps=True),
)

if TYPE_CHECKING:
    from oprel.wire.library import LibraryModel


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("list-models", help="list the short names of models that can be pulled")
    parser.add_argument("word", nargs="*", help="list only models whose name or description contains all these words")
    parser.add_argument(
        "--capability", default="", help="list only models with this capability: tools, thinking, vision, ..."
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_columns(parser, COLUMNS)
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.client_api import Client

    with Client(config=config_from(args)) as client:
        library = client.library(status="available", capability=args.capability)
    words = [word.lower() for word in args.word]
    library.models = [model for model in library.models if all(word in _text(model) for word in words)]
    if args.json:
        render.json(library)
        return 0
    if not library.models:
        render.note("no short name matches; try fewer words, or search all of Hugging Face with `oprel search`")
        return 0
    rows = [
        (model.name, " ".join(model.repositories), " ".join(model.capabilities), model.license or "", model.about or "")
        for model in library.models
    ]
    render.table(COLUMNS, rows, columns_from(args))
    render.note("`oprel pull NAME:SIZE` downloads one; `oprel search` finds many more.")
    return 0


def _text(model: "LibraryModel") -> str:
    """The text that search words must occur in."""
    return " ".join([model.name, *model.aliases, *model.capabilities, model.about or ""]).lower()
