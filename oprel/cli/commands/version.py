"""`oprel version`: the version of this command and of the daemon it talks to. `oprel --version` asks no daemon."""

import argparse

from oprel import __version__
from oprel.cli.options import add_address, config_from, without_daemon
from oprel.cli.screen import render
from oprel.core.exceptions import ConnectError


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("version", help="show the versions of oprel and of its daemon")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.client_api import Client

    render.line(f"oprel {__version__}")
    with Client(config=config_from(args), start=False) as client:
        try:
            daemon = client.health().version
        except ConnectError as error:
            told = error if client.config.host else without_daemon(client.config)
            render.note(f"Warning: {told.message}")
            return 0
    if daemon != __version__:
        render.note(
            f"Warning: the daemon is of version {daemon}. `oprel stop --daemon` ends it; the next is of this one."
        )
    return 0
