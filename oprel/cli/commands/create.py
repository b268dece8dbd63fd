"""`oprel create NAME -f Modelfile`: a model of one's own, made from another."""

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
    from oprel.core.modelfile import Modelfile


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("create", help="make a model from a Modelfile")
    parser.add_argument("model", help="the new model's name")
    parser.add_argument("-f", "--file", default="Modelfile", help="the Modelfile; - is standard input (%(default)s)")
    parser.add_argument("-q", "--quantize", metavar="TYPE", help="make the weights smaller, for example to q4_K_M")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.client_api import Client
    from oprel.core.modelfile import parse

    modelfile = parse(_read(args.file))
    for sentence in modelfile.notes:
        render.note(sentence)
    folder = Path() if args.file == "-" else Path(args.file).parent
    with Client(config=config_from(args)) as client, suggesting_names(client, modelfile.from_), _blaming(modelfile):
        _create(client, args.model, modelfile, folder, args.quantize)
    render.line(f"created '{args.model}'")
    return 0


@contextmanager
def _blaming(modelfile: "Modelfile") -> "Iterator[None]":
    """What the daemon finds wrong with a parameter is told with its line."""
    try:
        yield
    except ValidationError as error:
        named = re.match(r'option "(\w+)"', error.message)
        line = modelfile.lines.get(named[1]) if named else None
        if line is None:
            raise
        raise ValidationError(f"Modelfile, line {line}: {error.message}", *error.resolution_steps) from None


def _read(file: str) -> str:
    if file == "-":
        return sys.stdin.buffer.read().decode(errors="replace")
    try:
        return Path(file).read_text(errors="replace")
    except OSError as error:
        raise ValidationError(
            f"the Modelfile {file} cannot be read: {error.strerror}",
            "Name another with -f; it needs a line `FROM MODEL`.",
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
    """The model that FROM names, and the files that it names."""
    names = [modelfile.from_, *modelfile.also_from]
    if len(names) == 1 and is_path(names[0]) and _is_local(client.address):  # the daemon uses it where it lies
        return str(_there(names[0], folder)), []
    paths = [_file(name, folder) for name in names if is_path(name)]
    if not paths:
        return modelfile.from_, []
    return (None if is_path(modelfile.from_) else modelfile.from_), paths


def _is_local(address: "Address") -> bool:
    from oprel.client.base import Scheme

    if address.scheme is Scheme.HTTP:
        return urlsplit(address.target).hostname in ("127.0.0.1", "::1", "localhost")
    return address.scheme is Scheme.UNIX  # where a package's transport leads, nobody knows


def _file(name: str, folder: Path) -> Path:
    path = _there(name, folder)
    if not path.is_file():
        raise ValidationError(f"{path} is no file, and only files are sent", "`oprel import` it where the daemon runs.")
    return path


def _there(name: str, folder: Path) -> Path:
    path = (folder / Path(name).expanduser()).absolute()
    if not path.exists():
        raise ModelNotFoundError(f"there is no file {path}", "Check the Modelfile; its paths begin at its own folder.")
    return path


def _uploaded(client: "Client", paths: "Sequence[Path]", progress: render.ProgressLines) -> dict[str, str] | None:
    """The names of files with the digests that the daemon now knows them by."""
    digests = {}
    for path in paths:
        progress.show(f"sending {path.name}")
        try:
            digests[path.name] = client.create_blob(path)
        except OSError as error:
            raise ValidationError(f"{path} cannot be read: {error.strerror}", "Check its permissions.") from error
    return digests or None
