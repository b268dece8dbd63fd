"""`oprel pull MODEL…`: downloads models."""

import argparse

from oprel.cli.options import add_address, config_from
from oprel.cli.pulling import pull
from oprel.cli.screen import render


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("pull", help="download models")
    parser.add_argument("model", nargs="+", help="a name, hf.co/ORG/REPO, hf.co/ORG/REPO:Q4_K_M or the URL of a file")
    parser.add_argument("--insecure", action="store_true", help="allow a registry over plain http")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.client_api import Client

    with Client(config=config_from(args)) as client:
        for name in args.model:
            pull(client, name, insecure=args.insecure)
            render.line(f"pulled '{name}'")
    return 0
