"""`oprel chat MODEL`: a conversation."""

import argparse
import contextlib

from oprel.cli import render
from oprel.cli.options import add_address, check_path, config_from, default_model


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("chat", help="talk with a model")
    parser.add_argument("model", nargs="?", help="a name, or the path of a .gguf file; without one, oprel's own guide")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.cli.repl import Repl
    from oprel.client_api import Client

    args.model = args.model or default_model()
    check_path(args.model)
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - gives `input` line editing and history
    with Client(config=config_from(args)) as client:
        with render.patience(f"loading {args.model}"):
            client.chat(args.model)  # no messages: loads it, or says that it cannot chat
        render.line(f"{args.model} is ready; /help lists the commands.")
        Repl(client, args.model, input, render.piece).run()
    return 0
