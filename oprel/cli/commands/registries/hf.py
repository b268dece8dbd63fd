"""`oprel hf login|logout|whoami`: manages the Hugging Face token, which gated models need."""

import argparse
import sys
from typing import TYPE_CHECKING

from oprel.cli.options import add_address, config_from
from oprel.cli.screen import render
from oprel.core.exceptions import ValidationError

if TYPE_CHECKING:
    from oprel.downloader.hub import Hub

HOW_TO_GET_A_TOKEN = "Create a token at https://huggingface.co/settings/tokens; read access is enough."


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("hf", help="log in to Hugging Face, for gated models")
    parser.add_argument(
        "action", choices=("login", "logout", "whoami"), help="what to do; the token is shared with the `hf` program"
    )
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.downloader.cache import HubCache
    from oprel.downloader.hub import Hub

    config = config_from(args)
    hub = Hub(config.hf_endpoint, HubCache(config.hub_dir))
    if args.action == "login":
        render.line(f"logged in as {_login(hub)}")
    elif args.action == "logout":
        hub.logout()
        render.line("logged out")
    else:
        render.line(hub.whoami())
    return 0


def _login(hub: "Hub") -> str:
    """Read a token and log in. A token is never an argument, because other users of the machine can see those."""
    from getpass import getpass

    at_terminal = sys.stdin is not None and sys.stdin.isatty()
    if at_terminal:
        render.note(HOW_TO_GET_A_TOKEN)
    token = (getpass("Token: ") if at_terminal else sys.stdin.readline() if sys.stdin else "").strip()
    if not token or not token.isascii() or not token.isprintable():
        raise ValidationError(
            "no valid token was given", f"{HOW_TO_GET_A_TOKEN} Type it, or pass it on standard input."
        )
    return hub.login(token)
