"""`oprel import PATH [NAME]`: a model file, or folder, of yours among oprel's."""

import argparse
import re
from pathlib import Path

from oprel.cli.options import add_address, config_from
from oprel.cli.screen import render
from oprel.core.exceptions import ModelNotFoundError


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("import", help="make a model file or folder of yours one of oprel's")
    parser.add_argument("path", help="a .gguf file (of a split one any part), a folder with one, or with safetensors")
    parser.add_argument("name", nargs="?", default="", help="what to call it; else what the file is called")
    how = parser.add_mutually_exclusive_group()
    text = "copy the bytes (else they are shared with your file where the disk can: a reflink or a hard link)"
    how.add_argument("--copy", dest="how", action="store_const", const="copy", default="link", help=text)
    text = "use the file where it lies; it must stay there"
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
    """A name like the file's, without what says which part it is.

    >>> _name("~/Big Model-Q4_0-00001-of-00003.gguf")
    'Big-Model-Q4_0'
    """
    place = Path(path).expanduser().absolute()
    stem = place.stem if place.suffix == ".gguf" else place.name
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", re.sub(r"-\d{5}-of-\d{5}$", "", stem)).strip("-.")[:80]
