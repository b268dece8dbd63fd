"""`oprel version`: shows the version of this program and of its daemon. `oprel --version` does not ask the daemon."""

import argparse

from oprel import __version__
from oprel.cli.options import add_address, config_from, open_client
from oprel.cli.screen import render
from oprel.core.exceptions import ConnectError, ShuttingDownError


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("version", help="show the versions of oprel and of its daemon")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.client.base import NotReachedError
    from oprel.client.plain.daemon_state import why_silent

    render.line(f"oprel {__version__}")
    with open_client(config_from(args, compared=False), start=False) as client:
        try:
            daemon = client.health().version
        except NotReachedError as error:
            problem = error if client.config.host else why_silent(client.config)
            render.note(f"Warning: {problem.message}")
            return 0
        except (ConnectError, ShuttingDownError) as error:
            render.note(f"Warning: {error.message}")
            return 0
    if daemon != __version__:
        step = f"update it on {client.config.host}" if client.config.host else "`oprel restart`"
        render.note(f"Warning: the daemon has version {daemon}: {step}")
    return 0
