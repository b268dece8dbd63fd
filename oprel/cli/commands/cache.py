"""`oprel cache ls|verify|prune|clear`: the files behind the models."""

import argparse
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from oprel.cli.options import add_address, config_from
from oprel.cli.screen import render
from oprel.core.exceptions import ValidationError
from oprel.core.names import DEFAULT_TAG
from oprel.utils.text import human_interval, human_size

if TYPE_CHECKING:
    from oprel.client_api import Client
    from oprel.wire.library import CachedFile, CacheResponse, RemovedResponse

# A file that is called by its digest, or what is here of it.
LONG_NAME = re.compile(r"(?:sha256-)?([0-9a-f]{12})[0-9a-f]{28,52}(|\.part)")


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("cache", help="look after the files behind the models")
    text = "ls (the default), verify (read the files), prune (remove what no model uses), clear (remove every model)"
    parser.add_argument("action", nargs="?", choices=("ls", "verify", "prune", "clear"), default="ls", help=text)
    parser.add_argument("--all", action="store_true", help="verify the files of other programs too")
    parser.add_argument("--yes", action="store_true", help="clear without being asked")
    parser.add_argument("--json", action="store_true", help="print JSON, with the whole paths of the files")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.client_api import Client

    with Client(config=config_from(args)) as client:
        match args.action:
            case "verify":
                _verify(client, include_others=args.all)
            case "prune":
                _prune(client)
            case "clear":
                _clear(client, sure=args.yes)
            case _:
                _list(client, as_json=args.json)
    return 0


def _list(client: "Client", *, as_json: bool) -> None:
    found = client.cache()
    if as_json:
        render.json(found)
        return
    rows = [
        (_size(file), _used(file), file.provider, ", ".join(file.models) or "(none)", _file(file))
        for file in found.files
    ]
    render.table(("SIZE", "LAST USE", "PROVIDER", "MODELS", "FILE"), rows)
    for note in (*_unfinished(client), *_twins(found)):
        render.note(note)


def _verify(client: "Client", *, include_others: bool) -> None:
    progress, untold = render.ProgressLines(), []
    try:
        for step in client.verify_cache(all=include_others):
            if step.digest:
                progress.show(step.status or "", step.completed or 0, step.total or 0)
            elif step.status != "success":
                untold.append(step.status or "")
    finally:
        progress.end()
    render.line(f"every file{' that has a digest' if untold else ''} is as it should be")
    for text in dict.fromkeys(untold):  # a model may have several such files
        render.line(text)


def _prune(client: "Client") -> None:
    before = client.cache().files
    done = client.clear_cache()
    here = {file.path for file in client.cache().files}
    for file in before:
        if file.path not in here:
            render.note(f"removed {_file(file)}, {_size(file)}")
    for note in _unfinished(client):
        render.note(f"kept: {note}")
    _tell(done)


def _clear(client: "Client", *, sure: bool) -> None:
    if not sure:
        own = [file for file in client.cache().files if file.provider == "oprel" and not file.partial]
        names = sorted({name for file in own for name in file.models})
        told = f"this would remove {', '.join(names) or 'nothing'}"
        raise ValidationError(told, "Say --yes. Models whose files lie elsewhere stay.")
    _tell(client.clear_cache(all=True))


def _tell(done: "RemovedResponse") -> None:
    later = "; answers are still being made with other files, which go later" if done.busy else ""
    render.line(f"{human_size(done.freed_bytes)} freed{later}")


def _used(file: "CachedFile") -> str:
    if file.last_used_at is None:
        return ""
    return f"{human_interval((datetime.now(UTC) - datetime.fromisoformat(file.last_used_at)).total_seconds())} ago"


def _size(file: "CachedFile") -> str:
    here = human_size(file.size)
    return f"{here} of {human_size(file.total)}" if file.partial and file.total else here


def _file(file: "CachedFile") -> str:
    """The first digits of its digest, as `list` has them, or its path."""
    digits = LONG_NAME.fullmatch(PurePath(file.path).name)
    return f"{digits[1]}{digits[2]}" if digits else _short(file.path)


def _short(path: str) -> str:
    """A path in few columns: ~ for the user's folder, and of digits the first."""
    name = LONG_NAME.sub(r"\1…\2", PurePath(path).name)
    short, home = PurePath(path).with_name(name), Path.home()
    return f"~/{short.relative_to(home)}" if short.is_relative_to(home) else str(short)


def _unfinished(client: "Client") -> Iterator[str]:
    """How far the downloads are that have not ended."""
    for download in client.downloads().downloads:
        name = download.model.removesuffix(f":{DEFAULT_TAG}")
        here = f"{human_size(download.completed)} of {human_size(download.total)}"
        if download.status == "running":
            yield f"{name}, {here}: on its way"
        elif download.status != "done":
            yield f"{name}, {here}: {download.status}, `oprel pull {name}` goes on and `oprel rm {name}` gives it up"


def _twins(found: "CacheResponse") -> list[str]:
    sizes = {file.path: file.size for file in found.files}
    return [
        f"Equal, {human_size(sizes.get(group[0], 0))} each: {', '.join(map(_short, group))}"
        for group in found.duplicates
    ]
