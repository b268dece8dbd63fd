"""`oprel quarantine ls|clear [HASH]`: requests that are not asked any more, because engines ended under them."""

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from oprel.cli.options import add_address, config_from, without_daemon
from oprel.cli.screen import render
from oprel.core.exceptions import ConnectError, ValidationError
from oprel.utils.text import human_interval

if TYPE_CHECKING:
    from oprel.client_api import Client
    from oprel.wire.daemon import QuarantineEntry

TITLES = ("HASH", "MODEL", "REASON", "CRASHES", "UNTIL")


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("quarantine", help="list requests that crashed their engine, or let them go")
    parser.add_argument("action", nargs="?", choices=("ls", "clear"), default="ls", help="ls (the default) or clear")
    parser.add_argument("hash", nargs="?", help="the request to let go, or how its hash begins; without it, all")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.client.connect import is_ending
    from oprel.client_api import Client

    with Client(config=config_from(args), start=False) as client:
        try:
            return _clear(client, args.hash) if args.action == "clear" else _list(client, as_json=args.json)
        except ConnectError:
            if client.config.host:  # another machine's, where we cannot know
                raise
            if is_ending(client.config):
                raise without_daemon(client.config) from None
            render.note("no daemon runs, so nothing is in quarantine")
            return 0


def _list(client: "Client", *, as_json: bool) -> int:
    found = client.quarantine()
    if as_json:
        render.json(found)
    elif not found.requests:
        render.note("no request is in quarantine")
    else:
        render.table(TITLES, [_row(entry) for entry in found.requests])
    return 0


def _row(entry: "QuarantineEntry") -> tuple[str, ...]:
    left = (datetime.fromisoformat(entry.until) - datetime.now(UTC)).total_seconds()
    return entry.hash, entry.model, entry.reason, str(entry.strikes), f"{human_interval(left)} from now"


def _clear(client: "Client", hash: str | None) -> int:
    cleared = client.clear_quarantine(hash).cleared
    if hash and not cleared:
        raise ValidationError(f"no request {hash} is in quarantine", "`oprel quarantine ls` shows those that are.")
    if not cleared:
        render.note("no request is in quarantine")
        return 0
    render.line("let 1 request go" if cleared == 1 else f"let {cleared} requests go")
    return 0
