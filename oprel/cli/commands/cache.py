"""`oprel cache ls|verify|prune|clear`: the files behind the models."""

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from oprel.cli import render
from oprel.cli.options import add_address, config_from
from oprel.core.exceptions import ValidationError
from oprel.utils.text import human_interval, human_size

if TYPE_CHECKING:
    from oprel.client_api import Client
    from oprel.library_models import CachedFile, CacheResponse, RemovedResponse


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("cache", help="look after the files behind the models")
    text = "ls (the default), verify (read the files), prune (remove what no model uses), clear (remove every model)"
    parser.add_argument("action", nargs="?", choices=("ls", "verify", "prune", "clear"), default="ls", help=text)
    parser.add_argument("--all", action="store_true", help="verify the files of other programs too")
    parser.add_argument("--yes", action="store_true", help="clear without being asked")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.client_api import Client

    with Client(config=config_from(args)) as client:
        match args.action:
            case "verify":
                _verify(client, include_others=args.all)
            case "prune":
                _tell(client.clear_cache())
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
        (human_size(file.size), _used(file), file.provider, ", ".join(file.models) or _unused(file), file.path)
        for file in found.files
    ]
    render.table(("SIZE", "LAST USE", "PROVIDER", "MODELS", "FILE"), rows)
    for note in _notes(found):
        render.note(note)


def _verify(client: "Client", *, include_others: bool) -> None:
    progress = render.Progress()
    try:
        for step in client.verify_cache(all=include_others):
            if step.status != "success":
                progress.show(step.status or "", step.completed or 0, step.total or 0)
    finally:
        progress.end()
    render.line("every file is as it should be")


def _clear(client: "Client", *, sure: bool) -> None:
    if not sure:
        own = [file for file in client.cache().files if file.provider == "oprel"]
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


def _unused(file: "CachedFile") -> str:
    return "(a download goes on)" if file.partial else "(none)"


def _notes(found: "CacheResponse") -> list[str]:
    sizes = {file.path: file.size for file in found.files}
    return [f"Equal, {human_size(sizes.get(group[0], 0))} each: {', '.join(group)}" for group in found.duplicates]
