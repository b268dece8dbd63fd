"""`oprel ps` (also `oprel models`): lists the loaded models, one line per engine, and those waiting for memory."""

import argparse
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from oprel.cli.options import add_address, add_columns, columns_from, config_from, open_client
from oprel.cli.screen import render
from oprel.cli.screen.table import Column, ColumnChoice, named, shorter_name
from oprel.utils.text import human_interval, human_size

if TYPE_CHECKING:
    from oprel.api_models import RunningModel
    from oprel.cli.options import AnyClient
    from oprel.client.types import ProcessResponse
    from oprel.wire.daemon import EngineModel, HealthResponse, ModelsResponse, WaitingModel

READY = "ready"
DOWN = ("crashed", "backing_off", "broken")
FOREVER = 100 * 365 * 86_400  # s; a model that expires later never does
# The columns of `ollama ps`, then those that only oprel has.
COLUMNS = (
    *(Column("NAME", shorter=shorter_name), Column("ID", 2), "SIZE", "PROCESSOR", Column("CONTEXT", 1), "UNTIL"),
    *(Column("STATE", 3), Column("QUEUE", 5), Column("THREADS", 10), Column("TOKENS/S", 4), Column("MEMORY", 6)),
    *(Column("RESERVED", 9), Column("RESTARTS", 7), Column("PID", 8), Column("ENGINE", 11)),
)
TITLES = tuple(column.title for column in named(COLUMNS))

Row = Mapping[str, str]  # a cell by its title


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("ps", aliases=["models"], help="list the loaded models and their engines")
    parser.add_argument("prefix", nargs="?", default="", help="list only names with this prefix")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_columns(parser, COLUMNS)
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    with open_client(config_from(args), start=False, checked=args.json) as client:
        answers = _answers(client)
    if args.json:
        from oprel.wire.daemon import ModelsResponse

        render.json(_named(answers[0], args.prefix) if answers else ModelsResponse(models=[]))
    elif answers:
        loaded, running, health = answers
        sizes = {model.name: model for model in running.models}
        _show(_named(loaded, args.prefix), sizes, columns_from(args))
        for warning in health.warnings:
            render.note(warning)
        for engine in health.engines_set_aside:
            render.note(f"engine {engine.engine} is not used: {engine.reason}")
    else:
        _table([], columns_from(args))
    return 0


def _answers(client: "AnyClient") -> "tuple[ModelsResponse, ProcessResponse, HealthResponse] | None":
    """What the daemon says; None when this machine's own does not run. Raises ConnectError."""
    from oprel.client.base import NotReachedError

    try:
        return client.engines(), client.ps(), client.health()
    except NotReachedError:
        if client.config.host:  # on another machine: nothing is known about it
            raise
    render.note("no daemon is running, so nothing is loaded; `oprel list` lists the installed models")
    return None


def _named(loaded: "ModelsResponse", prefix: str) -> "ModelsResponse":
    """Without the models that have no name with this prefix."""
    loaded.models = [engine for engine in loaded.models if engine.name.lower().startswith(prefix.lower())]
    loaded.waiting = [model for model in loaded.waiting or () if model.name.lower().startswith(prefix.lower())]
    return loaded


def _show(loaded: "ModelsResponse", sizes: "Mapping[str, RunningModel]", choice: ColumnChoice) -> None:
    _table([*(engine_row(engine, sizes) for engine in loaded.models), *map(waiting_row, loaded.waiting)], choice)
    for engine in loaded.models:
        if engine.adjustments:
            render.note(f"{engine.name} was adjusted: {', '.join(engine.adjustments)}")
    for model in loaded.waiting:
        render.note(f"{model.name} has been waiting for memory for {human_interval(model.seconds)}: {model.why}")


def _table(rows: Sequence[Row], choice: ColumnChoice) -> None:
    render.table(COLUMNS, [[row.get(title, "") for title in TITLES] for row in rows], choice)


def engine_row(engine: "EngineModel", sizes: "Mapping[str, RunningModel]") -> Row:
    running = sizes.get(engine.name)
    measured = human_size(engine.memory_bytes) if engine.memory_bytes else "-"
    return {
        "NAME": f"{engine.name} (embedding)" if engine.embedding else engine.name,
        "ID": running.digest.removeprefix("sha256:")[:12] if running else "",
        "SIZE": human_size(running.size) if running else "",
        "PROCESSOR": processor(engine.gpu_share),
        "CONTEXT": str(engine.context_length),
        "UNTIL": _until(engine),
        "STATE": engine.state,
        "QUEUE": f"{engine.slots_taken}/{engine.slots}" + (f" +{engine.queued}" if engine.queued else ""),
        "THREADS": threads(engine),
        "TOKENS/S": f"{engine.tokens_per_second:.0f}" if engine.tokens_per_second else "",
        "MEMORY": f"{measured} of {human_size(engine.expected_bytes)}",
        "RESERVED": human_size(engine.predicted_bytes),
        "RESTARTS": str(engine.restarts),
        "PID": str(engine.pid or ""),
        "ENGINE": engine.engine or "",
    }


def waiting_row(model: "WaitingModel") -> Row:
    return {
        "NAME": model.name,
        "UNTIL": "waiting for memory",
        "STATE": "waiting",
        "RESERVED": human_size(model.bytes),
    }


def threads(engine: "EngineModel") -> str:
    """Those that compute a single token, and where that is another number, those for several at once."""
    return "/".join(str(number) for number in dict.fromkeys((engine.threads, engine.batch_threads)) if number)


def processor(gpu_share: float) -> str:
    """As Ollama shows it.

    >>> processor(0.0), processor(0.7), processor(1.0)
    ('100% CPU', '30%/70% CPU/GPU', '100% GPU')
    """
    on_gpu = round(100 * gpu_share)
    if on_gpu in (0, 100):
        return "100% GPU" if on_gpu else "100% CPU"
    return f"{100 - on_gpu}%/{on_gpu}% CPU/GPU"


def _until(engine: "EngineModel") -> str:
    """When it is unloaded; of an engine that does not serve, why."""
    if engine.state != READY:
        return (engine.last_exit if engine.state in DOWN else None) or engine.state
    if engine.pinned:
        return "pinned"
    if engine.expires_at is None:
        return ""
    left = (datetime.fromisoformat(engine.expires_at) - datetime.now(UTC)).total_seconds()
    return "Forever" if left > FOREVER else f"{human_interval(left)} from now"
