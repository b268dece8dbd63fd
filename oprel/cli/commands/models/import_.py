"""`oprel import PATH [NAME]`: adds a local model file or folder to the installed models."""

import argparse
import re
from pathlib import Path

from oprel.cli.options import add_address, config_from
from oprel.cli.screen import render
from oprel.core.exceptions import ModelNotFoundError


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("import", help="add a local model file or folder to the installed models")
    parser.add_argument("path", help="a .gguf file (any part of a split one), or a folder with one or with safetensors")
    parser.add_argument("name", nargs="?", default="", help="the model's name (default: the name of the file)")
    how = parser.add_mutually_exclusive_group()
    text = "copy the data (default: share it with your file by a reflink or hard link, where possible)"
    how.add_argument("--copy", dest="how", action="store_const", const="copy", default="link", help=text)
    text = "use the file where it is; it must stay there"
    how.add_argument("--in-place", dest="how", action="store_const", const="in_place", help=text)
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.client_api import Client

    if not Path(args.path).expanduser().exists():
        raise ModelNotFoundError(f"there is no file {args.path}", "Check the path.")
    name, progress = args.name or _name(args.path), render.ProgressLines()
    with Client(config=config_from(args)) as client:
        try:
            for step in client.import_model(name, args.path, how=args.how):
                progress.show(step.status or "", step.completed or 0, step.total or 0)
        finally:
            progress.end()
    render.line(f"imported '{name}'")
    return 0


def _name(path: str) -> str:
    """A model name made from the file name, without the part number.

    >>> _name("~/Big Model-Q4_0-00001-of-00003.gguf")
    'Big-Model-Q4_0'
    """
    absolute = Path(path).expanduser().absolute()
    stem = absolute.stem if absolute.suffix == ".gguf" else absolute.name
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", re.sub(r"-\d{5}-of-\d{5}$", "", stem)).strip("-.")[:80]
