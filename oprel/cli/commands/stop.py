"""`oprel stop MODEL`: let a loaded model go."""

import argparse

from oprel.cli import render
from oprel.cli.options import add_address, config_from
from oprel.core.exceptions import ModelNotFoundError


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("stop", help="unload a model when its last answer is done")
    parser.add_argument("model", help="a name, or the path of a .gguf file")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.client_api import Client

    with Client(config=config_from(args)) as client:
        if not client.unload(args.model).unloaded:
            raise ModelNotFoundError(f"{args.model} is not loaded", "`oprel ps` shows what is.")
    render.line(f"stopped {args.model}")
    return 0
