"""`oprel list`: lists the installed models and where they come from."""

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from oprel.cli.options import add_address, config_from
from oprel.cli.screen import render
from oprel.utils.text import human_interval, human_size

if TYPE_CHECKING:
    from oprel.client.types import ModelListing
    from oprel.client_api import Client


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("list", aliases=["ls"], help="list the installed models")
    parser.add_argument("prefix", nargs="?", default="", help="list only names with this prefix")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.client_api import Client

    with Client(config=config_from(args)) as client:
        print_models(client, args.prefix, as_json=args.json)
    return 0


def print_models(client: "Client", prefix: str = "", *, as_json: bool = False) -> None:
    listing = client.list()
    listing.models = [model for model in listing.models if model.name.lower().startswith(prefix.lower())]
    if as_json:
        render.json(listing)
        return
    render.table(("NAME", "ID", "SIZE", "MODIFIED", "SOURCE"), map(_row, listing.models))


def _row(model: "ModelListing") -> tuple[str, ...]:
    digest = model.digest.removeprefix("sha256:")[:12]
    return model.name, digest, human_size(model.size), _ago(model.modified_at), model.source or ""


def _ago(moment: str | datetime) -> str:
    then = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return f"{human_interval((datetime.now(UTC) - then).total_seconds())} ago"
