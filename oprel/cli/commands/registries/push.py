"""`oprel push MODEL`: uploads a model to a registry."""

import argparse

from oprel.cli.options import add_address, config_from, suggesting_names
from oprel.cli.screen import render


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("push", help="upload a model to a registry")
    parser.add_argument("model", help="its name, which includes the registry: HOST/NAMESPACE/MODEL[:TAG]")
    parser.add_argument("--insecure", action="store_true", help="allow a registry over plain http")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.client_api import Client

    progress = render.ProgressLines()
    with Client(config=config_from(args)) as client, suggesting_names(client, args.model):
        try:
            for step in client.push(args.model, insecure=args.insecure, stream=True):
                progress.show(step.status or "", step.completed or 0, step.total or 0)
        finally:
            progress.end()
    render.line(f"pushed '{args.model}'")
    return 0
