"""`oprel create NAME -f Modelfile`: creates a model from another one."""

import argparse
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from oprel.cli.options import add_address, config_from, suggesting_names
from oprel.cli.screen import render
from oprel.core.exceptions import ModelNotFoundError, ValidationError
from oprel.core.names import is_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from oprel.client.base import Address
    from oprel.client_api import Client
    from oprel.core.models.modelfile import Modelfile


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("create", help="create a model from a Modelfile")
    parser.add_argument("model", help="the new model's name")
    parser.add_argument(
        "-f", "--file", default="Modelfile", help="the Modelfile; - reads standard input (default: %(default)s)"
    )
    parser.add_argument("-q", "--quantize", metavar="TYPE", help="quantize the weights, for example to q4_K_M")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.client_api import Client
    from oprel.core.models.modelfile import decoded, parse

    modelfile = parse(decoded(_read(args.file)))
    for sentence in modelfile.notes:
        render.note(sentence)
    folder = Path() if args.file == "-" else Path(args.file).parent
    with (
        Client(config=config_from(args)) as client,
        suggesting_names(client, modelfile.from_),
        _naming_the_line(modelfile),
    ):
        _create(client, args.model, modelfile, folder, args.quantize)
    render.line(f"created '{args.model}'")
    return 0


@contextmanager
def _naming_the_line(modelfile: "Modelfile") -> "Iterator[None]":
    """Add the Modelfile's line number to an error about a parameter."""
    try:
        yield
    except ValidationError as error:
        option = re.match(r'option "(\w+)"', error.message)
        line = modelfile.lines.get(option[1]) if option else None
        if line is None:
            raise
        raise ValidationError(f"Modelfile, line {line}: {error.message}", *error.resolution_steps) from None


def _read(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise ValidationError(
            f"cannot read the Modelfile {file}: {error.strerror}",
            "Name another one with -f; it needs a line `FROM MODEL`.",
        ) from error


def _create(client: "Client", name: str, modelfile: "Modelfile", folder: Path, quantize: str | None) -> None:
    progress = render.ProgressLines()
    from_, files = _sources(client, modelfile, folder)
    adapters = [_file(adapter, folder) for adapter in modelfile.adapters]
    steps = client.create(
        name,
        quantize=quantize,
        from_=from_,
        files=_uploaded(client, files, progress),
        adapters=_uploaded(client, adapters, progress),
        template=modelfile.template,
        license=list(modelfile.licenses) or None,
        system=modelfile.system,
        parameters=dict(modelfile.parameters) or None,
        messages=[{"role": role, "content": text} for role, text in modelfile.messages] or None,
        stream=True,
    )
    try:
        for step in steps:
            progress.show(step.status or "", step.completed or 0, step.total or 0)
    finally:
        progress.end()


def _sources(client: "Client", modelfile: "Modelfile", folder: Path) -> tuple[str | None, list[Path]]:
    """What FROM names: a model, and the files to upload."""
    names = [modelfile.from_, *modelfile.also_from]
    if len(names) == 1 and is_path(names[0]) and _is_local(client.address):  # the daemon uses the file in place
        return str(_existing(names[0], folder)), []
    paths = [_file(name, folder) for name in names if is_path(name)]
    if not paths:
        return modelfile.from_, []
    return (None if is_path(modelfile.from_) else modelfile.from_), paths


def _is_local(address: "Address") -> bool:
    from oprel.client.base import Scheme

    if address.scheme is Scheme.HTTP:
        return urlsplit(address.target).hostname in ("127.0.0.1", "::1", "localhost")
    return address.is_local  # a package's transport may lead to any machine


def _file(name: str, folder: Path) -> Path:
    path = _existing(name, folder)
    if not path.is_file():
        raise ValidationError(
            f"{path} is not a file, and only files can be uploaded", "Run `oprel import` on the daemon's machine."
        )
    return path


def _existing(name: str, folder: Path) -> Path:
    path = (folder / Path(name).expanduser()).absolute()
    if not path.exists():
        raise ModelNotFoundError(f"there is no file {path}", "Check the Modelfile; relative paths start at its folder.")
    return path


def _uploaded(client: "Client", paths: "Sequence[Path]", progress: render.ProgressLines) -> dict[str, str] | None:
    """Upload the files; return their digests by file name."""
    digests = {}
    for path in paths:
        progress.show(f"uploading {path.name}")
        try:
            digests[path.name] = client.create_blob(path)
        except OSError as error:
            raise ValidationError(f"cannot read {path}: {error.strerror}", "Check its permissions.") from error
    return digests or None
