"""`oprel cache ls|verify|prune|clear`: manages the files of installed models."""

import argparse
import re
from datetime import UTC, datetime
from pathlib import PurePath
from typing import TYPE_CHECKING

from oprel.cli.options import add_address, add_columns, columns_from, config_from
from oprel.cli.pulling import unfinished
from oprel.cli.screen import render
from oprel.cli.screen.table import Column, shorter_path
from oprel.core.exceptions import ValidationError
from oprel.utils.text import human_interval, human_size

if TYPE_CHECKING:
    from oprel.client_api import Client
    from oprel.wire.library import CachedFile, CacheResponse, RemovedResponse

COLUMNS = ("FILE", "SIZE", Column("LAST USE", 1), Column("PROVIDER", 2), Column("MODELS", wraps=True))
# A file named by its digest, complete or partial.
LONG_NAME = re.compile(r"(?:sha256-)?([0-9a-f]{12})[0-9a-f]{28,52}(|\.part)")


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("cache", help="list, verify or remove the files of models")
    text = "ls: list (the default); verify: check digests; prune: remove unused files; clear: remove every model"
    parser.add_argument("action", nargs="?", choices=("ls", "verify", "prune", "clear"), default="ls", help=text)
    parser.add_argument("--all", action="store_true", help="with verify: include files that belong to other programs")
    parser.add_argument("--yes", action="store_true", help="with clear: do not ask for confirmation")
    parser.add_argument("--json", action="store_true", help="print JSON with full paths")
    add_columns(parser, COLUMNS)
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
                _list(client, args)
    return 0


def _list(client: "Client", args: argparse.Namespace) -> None:
    cache = client.cache()
    if args.json:
        render.json(cache)
        return
    render.table(COLUMNS, map(_row, cache.files), columns_from(args))
    for note in (*unfinished(client.downloads().downloads), *_duplicates(cache)):
        render.note(note)


def _row(file: "CachedFile") -> tuple[str, ...]:
    return _file(file), _size(file), _used(file), file.provider, ", ".join(file.models) or "(none)"


def _verify(client: "Client", *, include_others: bool) -> None:
    from oprel.wire.library import NOT_CHECKED

    progress, notes = render.ProgressLines(), []
    try:
        for step in client.verify_cache(all=include_others):
            if step.digest:
                progress.show(step.status or "", step.completed or 0, step.total or 0)
            elif step.status != "success":
                notes.append(step.status or "")
    finally:
        progress.end()
    unseen = any(note.startswith(NOT_CHECKED) for note in notes)
    which = " that can be seen" if unseen else " with a digest" if notes else ""
    render.line(f"every file{which} is intact")
    for text in dict.fromkeys(notes):  # once, though a model may have several such files
        render.line(text)


def _prune(client: "Client") -> None:
    before = client.cache().files
    removed = client.clear_cache()
    remaining = {file.path for file in client.cache().files}
    for file in before:
        if file.path not in remaining:
            render.note(f"removed {_file(file)}, {_size(file)}")
    for note in unfinished(client.downloads().downloads):
        render.note(f"kept: {note}")
    print_kept(removed)
    _print_freed(removed)


def _clear(client: "Client", *, sure: bool) -> None:
    if not sure:
        own = [file for file in client.cache().files if file.provider == "oprel" and not file.partial]
        names = sorted({name for file in own for name in file.models})
        what = f"this would remove {', '.join(names) or 'nothing'}"
        raise ValidationError(what, "Confirm with --yes. Models whose files are stored elsewhere stay.")
    removed = client.clear_cache(all=True)
    print_kept(removed)
    _print_freed(removed)


def print_kept(removed: "RemovedResponse") -> None:
    """Explain why files that no readable model uses are still there."""
    if removed.kept_for:
        render.note(
            f"unused files are kept: {removed.kept_for} cannot be read, and its model may use them. Update oprel if a "
            "later version wrote it, or delete it."
        )


def _print_freed(removed: "RemovedResponse") -> None:
    later = "; files in use by running answers are removed later" if removed.busy else ""
    render.line(f"{human_size(removed.freed_bytes)} freed{later}")


def _used(file: "CachedFile") -> str:
    if file.last_used_at is None:
        return ""
    return f"{human_interval((datetime.now(UTC) - datetime.fromisoformat(file.last_used_at)).total_seconds())} ago"


def _size(file: "CachedFile") -> str:
    stored = human_size(file.size)
    return f"{stored} of {human_size(file.total)}" if file.partial and file.total else stored


def _file(file: "CachedFile") -> str:
    """The first digits of its digest, as `oprel list` shows them, or its path."""
    digits = LONG_NAME.fullmatch(PurePath(file.path).name)
    return f"{digits[1]}{digits[2]}" if digits else _short(file.path)


def _short(path: str) -> str:
    """A shortened path: ~ for the home directory, and digests cut to their first digits."""
    name = LONG_NAME.sub(r"\1…\2", PurePath(path).name)
    return shorter_path(str(PurePath(path).with_name(name)))


def _duplicates(cache: "CacheResponse") -> list[str]:
    sizes = {file.path: file.size for file in cache.files}
    return [
        f"Identical files, {human_size(sizes.get(group[0], 0))} each: {', '.join(map(_short, group))}"
        for group in cache.duplicates
    ]
