"""`oprel`: the parser, the dispatch, and the one place where errors become words and exit codes."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from oprel import __version__
from oprel.cli import render
from oprel.core.exceptions import OprelError

# Command -> its module in oprel.cli.commands, in the order of the help.
COMMANDS = {
    "serve": "serve",
    "run": "run",
    "chat": "chat",
    "list": "list",
    "ps": "ps",
    "show": "show",
    "stop": "stop",
}
INTERRUPTED = 130  # 128 + SIGINT, as shells count


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="oprel", description="Run language models on this machine.")
    parser.add_argument("--version", action="version", version=f"oprel {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in COMMANDS.values():
        import_module(f"oprel.cli.commands.{module}").add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    args = build_parser().parse_args(arguments)
    try:
        return int(args.main(args))
    except OprelError as error:
        render.error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output left, as with `| head`
        sys.stderr.close()
        return 0
