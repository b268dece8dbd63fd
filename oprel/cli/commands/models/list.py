"""`oprel list`: lists the installed models and where they come from."""

import argparse
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from oprel.cli.options import add_address, add_columns, columns_from, config_from, open_client
from oprel.cli.screen import render
from oprel.cli.screen.table import WHAT_FITS, Column, ColumnChoice, shorter_name
from oprel.core.exceptions import OprelError
from oprel.utils.text import human_interval, human_size

COLUMNS = (Column("NAME", shorter=shorter_name), Column("ID", 1), "SIZE", "MODIFIED", Column("SOURCE", 2))

if TYPE_CHECKING:
    from oprel.cli.options import AnyClient
    from oprel.client.types import ListResponse


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("list", aliases=["ls"], help="list the installed models")
    parser.add_argument("prefix", nargs="?", default="", help="list only names with this prefix")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_columns(parser, COLUMNS)
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    with open_client(config_from(args), checked=args.json) as client:
        listing = _models(client, args.prefix)
        downloads = [] if args.json or args.prefix else _downloads(client)
    if args.json:
        render.json(listing)
        return 0
    _print(listing, columns_from(args))
    for note in downloads:
        render.note(note)
    return 0


def _downloads(client: "AnyClient") -> list[str]:
    """What there is to say of unfinished downloads."""
    try:
        downloads = [download for download in client.downloads().downloads if download.status != "done"]
    except OprelError:  # not an oprel daemon: it has only Ollama's API
        return []
    if not downloads:
        return []
    from oprel.cli.pulling import unfinished

    return [*unfinished(downloads)]


def print_models(client: "AnyClient", prefix: str) -> None:
    _print(_models(client, prefix))


def _models(client: "AnyClient", prefix: str) -> "ListResponse":
    listing = client.list()
    listing.models = [model for model in listing.models if any(_names(model, prefix.lower()))]
    return listing


def _names(model: "ListResponse.Model", prefix: str) -> list[str]:
    """Those of its names that begin so."""
    return [name for name in (model.name, *(model.aliases or ())) if name.lower().startswith(prefix)]


def _print(listing: "ListResponse", choice: ColumnChoice = WHAT_FITS) -> None:
    render.table(COLUMNS, map(_row, listing.models), choice)
    for folder, count in Counter(model.away for model in listing.models if model.away).items():
        models = "1 model is" if count == 1 else f"{count} models are"
        render.note(f"{models} on a disk that is away: {folder} is missing, empty or not readable")


def _row(model: "ListResponse.Model") -> tuple[str, ...]:
    if model.away:
        return model.name, "", "away", "", model.source or ""
    digest = model.digest.removeprefix("sha256:")[:12]
    return model.name, digest, human_size(model.size), _ago(model.modified_at), model.source or ""


def _ago(moment: str | datetime) -> str:
    then = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return f"{human_interval((datetime.now(UTC) - then).total_seconds())} ago"
