"""`oprel serve`: the daemon, in the foreground."""

import argparse
from pathlib import Path

from oprel.cli.options import add_settings, config_from
from oprel.core.config import SERVER_SETTINGS


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("serve", help="run the daemon in the foreground")
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file")
    add_settings(parser, SERVER_SETTINGS)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.server.daemon import serve

    serve(config_from(args))
    return 0
