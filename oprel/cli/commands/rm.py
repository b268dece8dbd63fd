"""`oprel rm MODEL…`: delete models, with the files that nothing else uses, and what is here of a download."""

import argparse
from typing import TYPE_CHECKING

from oprel.cli.options import add_address, config_from, suggesting_names
from oprel.cli.pulling import gave_up
from oprel.cli.screen import render
from oprel.core.exceptions import ModelNotFoundError, OprelError
from oprel.utils.text import human_size

if TYPE_CHECKING:
    from oprel.client_api import Client


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("rm", help="delete models")
    parser.add_argument("model", nargs="+", help="names; files of your own that a name points to stay")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.client_api import Client

    status = 0
    with Client(config=config_from(args)) as client:
        for name in args.model:
            try:
                with suggesting_names(client, name):
                    _remove(client, name)
            except OprelError as error:  # the others can still go
                render.error(error)
                status = status or error.exit_code
    return status


def _remove(client: "Client", name: str) -> None:
    try:
        done = client.remove(name)
    except ModelNotFoundError:
        if not gave_up(client, name):
            raise
        render.line(f"gave up the download of '{name}'")
        return
    freed = f", {human_size(done.freed_bytes)} freed" if done.freed_bytes else ""
    later = "; an answer is still being made with its files, which go later" if done.busy else ""
    render.line(f"deleted '{name}'{freed}{later}")
