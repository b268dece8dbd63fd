"""`oprel cp SOURCE DESTINATION`: copies a model under another name."""

import argparse

from oprel.cli.options import add_address, config_from, open_client, suggesting_names
from oprel.cli.screen import render


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("cp", help="copy a model under another name")
    parser.add_argument("source", help="the model's name")
    parser.add_argument("destination", help="the new name")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    with open_client(config_from(args)) as client, suggesting_names(client, args.source):
        client.copy(args.source, args.destination)
    render.line(f"copied '{args.source}' to '{args.destination}'")
    return 0
