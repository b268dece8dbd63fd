"""`oprel ps` (also `oprel models`): what is loaded, one line an engine."""

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from oprel.cli import render
from oprel.cli.options import add_address, config_from
from oprel.core.exceptions import ConnectError
from oprel.utils.text import human_interval

if TYPE_CHECKING:
    from oprel.api_models import EngineModel

FAR = 100 * 365 * 86_400  # s; what expires later never does


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("ps", aliases=["models"], help="list the loaded models and their engines")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.api_models import ModelsResponse
    from oprel.client_api import Client

    loaded, aside = ModelsResponse(models=[]), []
    with Client(config=config_from(args), start=False) as client:
        try:
            loaded, aside = client.engines(), client.health().engines_set_aside
        except ConnectError:
            if client.config.host:  # another machine's, where we cannot know
                raise
            render.note("no daemon runs, so nothing is loaded")
    if args.json:
        render.json(loaded)
        return 0
    render.table(("NAME", "STATE", "PID", "ENGINE", "CONTEXT", "UNTIL"), [_row(engine) for engine in loaded.models])
    for one in aside:
        render.note(f"engine {one.engine} is not used: {one.reason}")
    return 0


def _row(engine: "EngineModel") -> tuple[str, ...]:
    name = f"{engine.name} (embedding)" if engine.embedding else engine.name
    state = f"{engine.state}, {engine.in_flight} in flight" if engine.in_flight else engine.state
    crashed = engine.state == "crashed" and engine.last_exit
    until = crashed or _until(engine.expires_at)
    return name, state, str(engine.pid or ""), engine.engine or "", str(engine.context_length), until


def _until(moment: str | None) -> str:
    if moment is None:
        return ""
    left = (datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds()
    return "Forever" if left > FAR else f"{human_interval(left)} from now"
