"""`oprel crash ls`, `oprel crash show [ID]`: reports of engine crashes."""

import argparse
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from oprel.cli.options import add_address, add_columns, columns_from, config_from
from oprel.cli.screen import render
from oprel.cli.screen.table import Column
from oprel.core.config import Config
from oprel.core.exceptions import ValidationError
from oprel.utils.text import human_interval, human_size

if TYPE_CHECKING:
    from oprel.client_api import Client
    from oprel.wire.daemon import Crash, CrashedRequest, CrashEntry, EngineBuild

COLUMNS = ("ID", "WHEN", Column("REASON", wraps=True), Column("SERVED", 1))
LINES = 20  # of the engine's log
POINTS = 8  # of its memory over time


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("crash", help="list engine crashes, or show one in detail")
    parser.add_argument("action", nargs="?", choices=("ls", "show"), default="ls", help="ls (the default) or show")
    parser.add_argument("id", nargs="?", help="the crash to show: its ID or any part of it (default: the newest)")
    parser.add_argument("--json", action="store_true", help="print JSON; show includes the whole log")
    add_columns(parser, COLUMNS)
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    config = config_from(args)
    if args.action == "ls" and args.id:
        raise ValidationError(f"`oprel crash ls` takes no ID ({args.id})", f"`oprel crash show {args.id}` does.")
    with _reader(config) as reader:
        if args.action == "show":
            _show(reader, args.id, as_json=args.json)
        else:
            _list(reader.entries(), args)
    return 0


class CrashReader(Protocol):
    """A source of crash reports: the files of this machine, or another machine's daemon."""

    def entries(self) -> "list[CrashEntry]": ...
    def find(self, text: str) -> "Crash": ...


@contextlib.contextmanager
def _reader(config: Config) -> Iterator[CrashReader]:
    from oprel.client_api import Client
    from oprel.core.state.crash_files import CrashFiles

    if not config.host:
        yield CrashFiles(config.crashes_dir)
        return
    with Client(config=config) as client:
        yield _Remote(client)


class _Remote:
    def __init__(self, client: "Client") -> None:
        self._client = client

    def entries(self) -> "list[CrashEntry]":
        return self._client.crashes().crashes

    def find(self, text: str) -> "Crash":
        return self._client.crash(text)


def _list(entries: "list[CrashEntry]", args: argparse.Namespace) -> None:
    from oprel.wire.daemon import CrashesResponse

    if args.json:
        render.json(CrashesResponse(crashes=entries))
    elif entries:
        render.table(COLUMNS, map(_row, entries), columns_from(args))
    else:
        render.note("no engine has crashed")


def _row(entry: "CrashEntry") -> tuple[str, ...]:
    served = human_interval(entry.served_seconds) if entry.served_seconds else "never"
    return entry.id, _ago(entry.time), entry.reason, served


def _ago(moment: str) -> str:
    return f"{human_interval((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())} ago"


def _show(reader: CrashReader, text: str | None, *, as_json: bool) -> None:
    if text is None:
        entries = reader.entries()
        if not entries:
            render.note("no engine has crashed")
            return
        text = entries[0].id
    crash = reader.find(text)
    if as_json:
        render.json(crash)
    else:
        render.verbatim("\n".join(described(crash)))


def described(crash: "Crash") -> Iterator[str]:
    yield f"{crash.model}: {crash.reason}: {crash.detail}"
    yield f"  {crash.advice}"
    yield ""
    yield from (f"  {name:9} {text}" for name, text in _facts(crash).items())
    yield from _block("Memory", [f"{seconds:8.1f} s  {human_size(bytes)}" for seconds, bytes in thinned(crash.memory)])
    yield from _block("Requests in flight", [_request(request) for request in crash.requests])
    yield from _block(f"Last lines (all {len(crash.log)} with --json)", crash.log[-LINES:])


def _facts(crash: "Crash") -> dict[str, str]:
    served = f"{crash.served_seconds:.1f} s of them ready" if crash.served_seconds else "never ready"
    return {
        "ID": crash.id,
        "time": f"{crash.time} ({_ago(crash.time)})",
        "engine": _build(crash.engine),
        "process": f"pid {crash.pid}, start {crash.starts}, ran {crash.uptime_seconds:.1f} s, {served}",
        "command": " ".join(crash.command),
    }


def _build(engine: "EngineBuild") -> str:
    size = human_size(engine.size) if engine.size else None
    facts = [fact for fact in (engine.version, size, engine.modified_at) if fact]
    return f"{engine.name} ({', '.join(facts)})" if facts else engine.name


def _request(request: "CrashedRequest") -> str:
    limit = "no token limit" if request.max_tokens is None else f"at most {request.max_tokens} tokens"
    summary = f"{request.hash}: {request.characters} characters, {limit}, running for {request.seconds:.1f} s"
    return f"{summary}: {request.prompt}" if request.prompt else summary


def _block(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield f"  {title}"
        yield from (f"    {line}" for line in lines)


def thinned(points: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """At most POINTS of the points, evenly spaced, with the first and the last.

    >>> thinned([(float(at), at) for at in range(100)])[-2:]
    [(85.0, 85), (99.0, 99)]
    """
    if len(points) <= POINTS:
        return points
    return [points[round(index * (len(points) - 1) / (POINTS - 1))] for index in range(POINTS)]
