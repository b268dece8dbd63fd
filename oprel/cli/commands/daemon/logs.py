"""`oprel logs [MODEL]`: shows the latest log lines of a model's engine, or of the daemon."""

import argparse
import time
from pathlib import Path

from oprel.cli.options import add_address, asking_own_daemon, check_path, config_from, suggesting_names
from oprel.cli.screen import render
from oprel.core.config import Config
from oprel.core.exceptions import OprelError, ValidationError
from oprel.utils.files import tail

LINES = 200  # of the daemon's log
POLL_INTERVAL = 0.2  # s


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("logs", help="show the log of a model's engine, or of the daemon")
    parser.add_argument("model", nargs="?", help="name or path of a loaded model (default: show the daemon's log)")
    parser.add_argument("-f", "--follow", action="store_true", help="keep printing new lines until Ctrl-C")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    config = config_from(args)
    if args.model:
        _show_engine(config, args.model, follow=args.follow)
    else:
        _show_daemon(config, follow=args.follow)
    return 0


def _show_engine(config: Config, model: str, *, follow: bool) -> None:
    from oprel.client_api import Client

    check_path(model)
    with Client(config=config, start=False) as client, asking_own_daemon(client), suggesting_names(client, model):
        for line in client.logs(model, follow=follow):
            render.verbatim(line)


def _show_daemon(config: Config, *, follow: bool) -> None:
    if config.host:
        raise ValidationError(
            f"the log of the daemon at {config.host} is on its machine", "Name a model to see its engine's log."
        )
    log = config.logs_dir / "daemon.log"
    if not log.exists():
        raise OprelError(f"there is no log {log}", "A daemon started with `oprel serve` logs to its terminal.")
    for line in tail(log, LINES):
        render.verbatim(line)
    if follow:
        _follow(log)


def _follow(log: Path) -> None:
    """Print what is appended, also after a later daemon starts a new file."""
    size = log.stat().st_size
    while True:
        time.sleep(POLL_INTERVAL)
        now = log.stat().st_size
        if now < size:
            size = 0
        with log.open("rb") as file:
            file.seek(size)
            added = file.read()
        size += len(added)
        render.piece(added.decode(errors="replace"))
