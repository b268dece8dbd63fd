"""`oprel rm MODEL…`: deletes models, the files that nothing else uses, and unfinished downloads."""

import argparse
from typing import TYPE_CHECKING

from oprel.cli.options import add_address, config_from, open_client, suggesting_names
from oprel.cli.screen import render
from oprel.core.exceptions import ModelNotFoundError, OprelError
from oprel.utils.text import human_size

if TYPE_CHECKING:
    from oprel.cli.options import AnyClient


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("rm", help="delete models")
    parser.add_argument("model", nargs="+", help="names; your own files that a name points to are kept")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    status = 0
    with open_client(config_from(args)) as client:
        for name in args.model:
            try:
                with suggesting_names(client, name):
                    _remove(client, name)
            except OprelError as error:  # the other models can still be deleted
                render.error(error)
                status = status or error.exit_code
    return status


def _remove(client: "AnyClient", name: str) -> None:
    from oprel.cli.commands.models.cache import print_kept
    from oprel.core.names import ModelRef

    try:
        removed = client.remove(name)
    except ModelNotFoundError:
        from oprel.cli.pulling import cancel_download

        if not cancel_download(client, name):
            raise
        render.line(f"cancelled the download of '{name}'")
        return
    if removed.model and ModelRef.parse(removed.model).key != ModelRef.parse(name).key:
        name = removed.model  # which of a repository's quantizations it is
    freed = f", {human_size(removed.freed_bytes)} freed" if removed.freed_bytes else ""
    later = "; its files are in use by a running answer and are removed later" if removed.busy else ""
    render.line(f"deleted '{name}'{freed}{later}")
    if removed.note:
        render.note(removed.note)
    print_kept(removed)
