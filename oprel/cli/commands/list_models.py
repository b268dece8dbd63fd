"""`oprel list-models`: short names of models that can be pulled."""

import argparse
from typing import TYPE_CHECKING

from oprel.cli.options import add_address, config_from
from oprel.cli.screen import render

if TYPE_CHECKING:
    from oprel.wire.library import LibraryModel


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("list-models", help="list short names of models that can be pulled")
    parser.add_argument("word", nargs="*", help="only those whose names or descriptions have all of these")
    parser.add_argument("--capability", default="", help="only those that can do this: tools, thinking, vision, ...")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.client_api import Client

    with Client(config=config_from(args)) as client:
        found = client.library(status="available", capability=args.capability)
    words = [word.lower() for word in args.word]
    found.models = [model for model in found.models if all(word in _text(model) for word in words)]
    if args.json:
        render.json(found)
        return 0
    if not found.models:
        render.note("no short name is like that; fewer words find more, and `oprel search` all there is")
        return 0
    rows = [
        (model.name, " ".join(model.repositories), " ".join(model.capabilities), model.license or "", model.about or "")
        for model in found.models
    ]
    render.table(("NAME", "SIZES", "CAN", "LICENSE", "GOOD FOR"), rows)
    render.note("`oprel pull NAME:SIZE` fetches one. There are many more: `oprel search`.")
    return 0


def _text(model: "LibraryModel") -> str:
    """All that is said about it, to look for words in."""
    return " ".join([model.name, *model.aliases, *model.capabilities, model.about or ""]).lower()
