"""`oprel ps` (also `oprel models`): what is loaded, one line an engine."""

import argparse
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from oprel.cli import render
from oprel.cli.options import add_address, config_from
from oprel.core.exceptions import ConnectError
from oprel.utils.text import human_interval, human_size

if TYPE_CHECKING:
    from oprel.api_models import EngineModel, RunningModel

DOWN = ("crashed", "backing_off", "broken")
FAR = 100 * 365 * 86_400  # s; what expires later never does
TITLES = ("NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL", "STATE", "PID", "ENGINE")


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("ps", aliases=["models"], help="list the loaded models and their engines")
    parser.add_argument("prefix", nargs="?", default="", help="only names that begin so")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.api_models import ModelsResponse
    from oprel.client_api import Client

    loaded, sizes, aside = ModelsResponse(models=[]), dict[str, "RunningModel"](), []
    with Client(config=config_from(args), start=False) as client:
        try:
            loaded, aside = client.engines(), client.health().engines_set_aside
            sizes = {model.name: model for model in client.ps().models}
        except ConnectError:
            if client.config.host:  # another machine's, where we cannot know
                raise
            render.note("no daemon runs, so nothing is loaded")
    loaded.models = [engine for engine in loaded.models if engine.name.lower().startswith(args.prefix.lower())]
    if args.json:
        render.json(loaded)
        return 0
    render.table(TITLES, [_row(engine, sizes) for engine in loaded.models])
    for one in aside:
        render.note(f"engine {one.engine} is not used: {one.reason}")
    return 0


def _row(engine: "EngineModel", sizes: "Mapping[str, RunningModel]") -> tuple[str, ...]:
    """What Ollama's users look for, and then what oprel knows besides."""
    name = f"{engine.name} (embedding)" if engine.embedding else engine.name
    state = f"{engine.state}, {engine.in_flight} in flight" if engine.in_flight else engine.state
    why = engine.last_exit if engine.state in DOWN else None
    until = why or _until(engine.expires_at)
    if running := sizes.get(engine.name):
        size = running.digest.removeprefix("sha256:")[:12], human_size(running.size), _processor(running)
    else:
        size = "", "", ""
    return name, *size, str(engine.context_length), until, state, str(engine.pid or ""), engine.engine or ""


def _processor(running: "RunningModel") -> str:
    if not running.size:
        return "Unknown"
    on_gpu = round(100 * running.size_vram / running.size)
    if on_gpu in (0, 100):
        return "100% GPU" if on_gpu else "100% CPU"
    return f"{100 - on_gpu}%/{on_gpu}% CPU/GPU"


def _until(moment: str | None) -> str:
    if moment is None:
        return ""
    left = (datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds()
    return "Forever" if left > FAR else f"{human_interval(left)} from now"
