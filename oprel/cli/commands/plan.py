"""`oprel plan MODEL`: which quantization suits this machine, where it would lie, and how fast it would be."""

import argparse
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from oprel.cli.options import add_home, config_from
from oprel.cli.screen import render
from oprel.core.exceptions import ConnectError, InsufficientMemoryError, ShuttingDownError, ValidationError
from oprel.utils.text import human_size

if TYPE_CHECKING:
    from oprel.core.config import Config
    from oprel.telemetry.recommender.settings import PlanConstraints
    from oprel.wire.daemon import ModelsResponse, PlacedMemory, PlannedVariant, PlanResponse

TITLES = ("", "QUANT", "SIZE", "FITS", "WHERE", "CONTEXT", "TOKENS/S", "WHY NOT")
CHOSEN = "➤"
BAR = 40  # characters
PARTS = {
    "weights": "█",
    "KV cache": "▓",
    "state": "▓",
    "compute": "▒",
    "output": "▒",
    "overhead": "░",
}
STATUSES = "exit status: 0 where it fits, 6 where it does not, 2 where no memory would suffice for what is asked"


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "plan", help="show how a model would run here: quantization, layers, context, speed", epilog=STATUSES
    )
    parser.add_argument("model", help="a name, a .gguf file, a folder with several quantizations or with safetensors")
    parser.add_argument(
        "--hardware", type=Path, metavar="FILE", help="another machine, as `oprel hardware --json` prints"
    )
    parser.add_argument("--quant", metavar="NAME", default="", help="this quantization and no other")
    context = parser.add_mutually_exclusive_group()
    context.add_argument("--num-ctx", type=_count, metavar="N", help="tokens that each request may use")
    context.add_argument(
        "--ctx", type=_count, metavar="N", help="tokens of the KV cache, which all slots share (one unless --parallel)"
    )
    parser.add_argument("--parallel", dest="slots", type=_count, metavar="N", help="requests at the same time")
    parser.add_argument(
        "--kv-unified", action=argparse.BooleanOptionalAction, default=True, help="slots share the cache, or divide it"
    )
    parser.add_argument(
        "--kv-cache-type", dest="types", type=_types, metavar="TYPE[,TYPE]", help="of keys and values, such as q8_0"
    )
    parser.add_argument("--flash-attention", dest="attention", choices=("on", "off", "auto"), default="auto")
    parser.add_argument("--ubatch", type=_count, metavar="N", help="tokens that are computed at once")
    parser.add_argument("--swa-full", action="store_true", help="keep what is beyond the window of sliding attention")
    parser.add_argument("--gpu-layers", type=int, metavar="N", help="layers on GPUs, counted as llama-server does")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_home(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.preview.plan import recommend
    from oprel.telemetry.hardware.probing import Hardware

    hardware, config = Hardware.load(args.hardware) if args.hardware else None, config_from(args)
    found = recommend(
        args.model,
        asked(args),
        quantization=args.quant,
        hardware=hardware,
        config=config,
        daemon=None if hardware else _told_by_daemon(config),
    )
    if args.json:
        render.json(found)
    else:
        show(found)
    return _status(found)


def _told_by_daemon(config: "Config") -> "ModelsResponse | None":
    """What the daemon of this home has loaded, where one runs."""
    from oprel.client_api import Client

    with Client(config=replace(config, host=""), start=False) as client:
        try:
            return client.engines()
        except (ConnectError, ShuttingDownError):
            return None


def _status(found: "PlanResponse") -> int:
    if found.fits:
        return 0
    return (ValidationError if found.contradictory else InsufficientMemoryError).exit_code


def asked(args: argparse.Namespace) -> "PlanConstraints":
    from oprel.telemetry.recommender.settings import PlanConstraints

    key, value = args.types or (None, None)
    return PlanConstraints(
        context=args.num_ctx,
        cells=args.ctx,
        slots=args.slots,
        unified=args.kv_unified,
        key_type=key,
        value_type=value,
        flash_attention={"on": True, "off": False}.get(args.attention),
        ubatch=args.ubatch,
        swa_full=args.swa_full,
        layers_on_gpu=args.gpu_layers,
    )


def show(found: "PlanResponse") -> None:
    render.table(TITLES, [_row(variant) for variant in found.variants])
    render.line()
    for line in described(found):
        render.line(line)
    for place in found.memory.devices:
        render.line()
        for line in bar(place):
            render.line(line)
    if found.command:
        render.line()
        render.line(shlex.join(found.command))
    for note in found.notes:
        render.note(note)


def described(found: "PlanResponse") -> Iterator[str]:
    """What was decided, in a sentence or two."""
    if not found.fits:
        yield f"{found.model} {'cannot run like that' if found.contradictory else 'does not fit'}: {found.refusal}"
        yield from found.advice
        if found.contradictory:
            yield "The flag is --kv-cache-type."
        return
    requests = "one request" if found.slots == 1 else f"each of {found.slots} requests at a time"
    speed = f", {_speed(found.tokens_per_second, 'about ', 'more than ')} tokens/s" if found.tokens_per_second else ""
    yield f"{found.quantization} on {found.where}{speed}"
    yield f"a context of {found.context} tokens for {requests}, KV cache in {found.kv_cache_type}"


def bar(place: "PlacedMemory") -> Iterator[str]:
    """How full a device becomes, drawn, and of what."""
    sizes = {
        "weights": place.weights_bytes,
        "KV cache": place.kv_bytes,
        "state": place.state_bytes,
        "compute": place.compute_bytes,
        "output": place.output_bytes,
        "overhead": place.overhead_bytes,
    }
    scale = max(place.budget_bytes, place.total_bytes, 1)
    drawn, done = "", 0
    for name, size in sizes.items():
        done += size
        drawn += PARTS[name] * (round(BAR * done / scale) - len(drawn))
    yield f"{place.name}: {human_size(place.total_bytes)} of the {human_size(place.budget_bytes)} that may be taken"
    yield f"  [{drawn:·<{BAR}}]"
    yield "  " + ", ".join(f"{name} {human_size(size)}" for name, size in sizes.items() if size)


def _row(variant: "PlannedVariant") -> tuple[str, ...]:
    speed = _speed(variant.tokens_per_second, "", "> ") if variant.tokens_per_second else ""
    context = f"{variant.context} x {variant.slots}" if variant.fits else ""
    return (
        CHOSEN if variant.chosen and variant.fits else "",
        variant.quantization,
        human_size(variant.size_bytes),
        "yes" if variant.fits else "no",
        variant.where,
        context,
        speed if variant.fits else "",
        variant.reason,
    )


def _speed(tokens_per_second: float, about: str, more_than: str) -> str:
    from oprel.telemetry.recommender.speed import FASTEST

    return f"{more_than if tokens_per_second == FASTEST else about}{tokens_per_second:.0f}"


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above zero")
    return int(text)


def _types(text: str) -> tuple[str, str]:
    """One for keys and values, or one for each."""
    from oprel.telemetry.memory.load_shape import CACHE_TYPES

    key, _, value = text.lower().partition(",")
    for name in (key, value or key):
        if name not in CACHE_TYPES:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(CACHE_TYPES)}")
    return key, value or key
