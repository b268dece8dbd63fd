"""`oprel quarantine ls|clear [HASH]`: manages the requests that are refused because they crashed their engines."""

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from oprel.cli.options import add_address, add_columns, columns_from, config_from
from oprel.cli.screen import render
from oprel.cli.screen.table import Column, shorter_name
from oprel.core.exceptions import ValidationError
from oprel.utils.text import human_interval

if TYPE_CHECKING:
    from oprel.client_api import Client
    from oprel.wire.daemon import QuarantineEntry

COLUMNS = ("HASH", Column("MODEL", 1, shorter_name), Column("REASON", wraps=True), Column("CRASHES", 2), "UNTIL")


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("quarantine", help="list or release requests that are refused after crashes")
    parser.add_argument("action", nargs="?", choices=("ls", "clear"), default="ls", help="ls (the default) or clear")
    parser.add_argument(
        "hash", nargs="?", help="the request to release: its hash or the beginning of it (default: all)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_columns(parser, COLUMNS)
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.client.base import NotReachedError
    from oprel.client_api import Client

    with Client(config=config_from(args), start=False) as client:
        try:
            return _clear(client, args.hash) if args.action == "clear" else _list(client, args)
        except NotReachedError:
            if client.config.host:  # on another machine: nothing is known about it
                raise
            render.note("no daemon is running, so nothing is in quarantine")
            return 0


def _list(client: "Client", args: argparse.Namespace) -> int:
    quarantine = client.quarantine()
    if args.json:
        render.json(quarantine)
    elif not quarantine.requests:
        render.note("no request is in quarantine")
    else:
        render.table(COLUMNS, map(_row, quarantine.requests), columns_from(args))
    return 0


def _row(entry: "QuarantineEntry") -> tuple[str, ...]:
    left = (datetime.fromisoformat(entry.until) - datetime.now(UTC)).total_seconds()
    return entry.hash, entry.model, entry.reason, str(entry.strikes), f"{human_interval(left)} from now"


def _clear(client: "Client", hash: str | None) -> int:
    cleared = client.clear_quarantine(hash).cleared
    if hash and not cleared:
        raise ValidationError(f"no request {hash} is in quarantine", "`oprel quarantine ls` lists them.")
    if not cleared:
        render.note("no request is in quarantine")
        return 0
    render.line("released 1 request" if cleared == 1 else f"released {cleared} requests")
    return 0
