"""`oprel logs [MODEL]`: shows the latest log lines of a model's engine, of the daemon, or of requests."""

import argparse
import os
import time
from pathlib import Path
from typing import BinaryIO

from oprel.cli.options import add_address, asking_own_daemon, check_path, config_from, suggesting_names
from oprel.cli.screen import render
from oprel.cli.screen.settings_notes import running_daemon
from oprel.core.config import Config
from oprel.core.exceptions import OprelError, ValidationError
from oprel.utils.files import is_same_file, old_log, open_own, tail

LINES, MOST_BYTES = 200, 64 * 1024  # of the daemon's log
POLL_INTERVAL = 0.2  # s


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("logs", help="show the log of a model's engine, or of the daemon")
    parser.add_argument("model", nargs="?", help="name or path of a loaded model (default: show the daemon's log)")
    parser.add_argument("--requests", action="store_true", help="show the log of requests, a line for each")
    parser.add_argument("-f", "--follow", action="store_true", help="keep printing new lines until Ctrl-C")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    config = config_from(args)
    if args.requests and args.model:
        raise ValidationError("the log of requests is for all models", "Leave out the model.")
    if args.requests:
        _show_requests(config, follow=args.follow)
    elif args.model:
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
    _check_own(config)
    daemon = running_daemon(config)
    if daemon and daemon.service.startswith("systemd"):
        raise OprelError("the daemon is a service, whose log is in the journal", "`oprel service logs` shows it.")
    _show_file(
        config.logs_dir / "daemon.log", "A daemon started with `oprel serve` logs to its terminal.", follow=follow
    )


def _show_requests(config: Config, *, follow: bool) -> None:
    _check_own(config)
    off = "The setting request_log is off." if config.request_log == "off" else "No daemon of this version ran here."
    _show_file(config.logs_dir / "requests.log", off, follow=follow)


def _check_own(config: Config) -> None:
    if config.host:
        raise ValidationError(
            f"the log of the daemon at {config.host} is on its machine", "Name a model to see its engine's log."
        )


def _show_file(log: Path, why_missing: str, *, follow: bool) -> None:
    if not log.exists():
        raise OprelError(f"there is no log {log}", why_missing)
    with open(open_own(log), "rb") as file:
        for line in _last_lines(log, file):
            render.verbatim(line)
        if follow:
            _follow(log, file)


def _last_lines(log: Path, file: BinaryIO) -> list[str]:
    """The end of the log, and of the file before it if the current one is new. Reads `file` to its end."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - MOST_BYTES))
    lines = file.read().decode(errors="replace").splitlines()[-LINES:]
    return [*tail(old_log(log, 1), LINES - len(lines)), *lines] if len(lines) < LINES else lines


def _follow(log: Path, file: BinaryIO) -> None:
    """Print what is appended to the open `file`, and then to those that continue it."""
    while True:
        is_current = is_same_file(log, file.fileno())
        render.piece(file.read().decode(errors="replace"))
        if is_current or not log.exists():
            time.sleep(POLL_INTERVAL)
        else:
            file = open(open_own(log), "rb")
