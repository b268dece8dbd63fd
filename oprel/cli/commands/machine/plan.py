"""`oprel plan MODEL`: shows which quantization suits this machine, on which devices it would run and how fast."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from oprel.cli.options import add_columns, add_home, columns_from, config_from
from oprel.cli.screen import render
from oprel.cli.screen.table import WHAT_FITS, Column, ColumnChoice
from oprel.core.exceptions import ConnectError, InsufficientMemoryError, ShuttingDownError, ValidationError
from oprel.utils.text import human_size

if TYPE_CHECKING:
    from oprel.core.config import Config
    from oprel.telemetry.recommender.settings import PlanConstraints
    from oprel.wire.daemon import ModelsResponse, PlacedMemory, PlannedVariant, PlanResponse

WHY_NOT = "WHY NOT"  # left out first; then its texts follow the table
COLUMNS = (
    *("", "QUANT", Column("SIZE", 4), Column("FITS", 1), "EXPECTED", Column("RESERVED", 2), "WHERE"),
    *("CONTEXT", Column("TOKENS/S", 3), Column(WHY_NOT, 5)),
)
CHOSEN = "➤"
BAR, BESIDE_BAR, LEGEND, WIDEST = 40, 26, 78, 200  # characters
HARD_SPACE = "\N{NO-BREAK SPACE}"
MUCH_SLOWER = 0.85  # times the usual speed
EXACT_BELOW = 5.0  # tokens per second
PARTS = {
    "weights": "█",
    "KV cache": "▓",
    "state": "▓",
    "compute": "▒",
    "output": "▒",
    "repacked weights": "█",
    "process": "░",
    "projector": "░",
    "checkpoints": "░",
    "in reserve": "╌",
}
STATUSES = "exit status: 0 if the model fits, 6 if it does not, 2 if the options contradict each other"


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "plan", help="show how a model would run on this machine, and how fast", epilog=STATUSES
    )
    parser.add_argument(
        "model", help="a name, a .gguf file, or a folder with several quantizations or with safetensors"
    )
    parser.add_argument(
        "--hardware",
        type=Path,
        metavar="FILE",
        help="plan for another machine: the output of `oprel hardware --json` there",
    )
    parser.add_argument("--quant", metavar="NAME", default="", help="consider only this quantization")
    _add_constraints(parser)
    add_columns(parser, COLUMNS[1:])
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_home(parser)
    parser.set_defaults(main=main)


def _add_constraints(parser: argparse.ArgumentParser) -> None:
    context = parser.add_mutually_exclusive_group()
    context.add_argument("--num-ctx", type=_count, metavar="N", help="context length of each request, in tokens")
    context.add_argument(
        "--ctx",
        type=_count,
        metavar="N",
        help="size of the KV cache in tokens, for all slots together (one slot unless --parallel)",
    )
    parser.add_argument(
        "--parallel", dest="slots", type=_count, metavar="N", help="number of requests answered at the same time"
    )
    parser.add_argument(
        "--kv-unified",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether slots share the KV cache or each get an equal part",
    )
    parser.add_argument(
        "--kv-cache-type",
        dest="types",
        type=_types,
        metavar="TYPE[,TYPE]",
        help="type of the KV cache, or of keys and of values, such as q8_0",
    )
    parser.add_argument(
        "--flash-attention",
        dest="attention",
        choices=("on", "off", "auto"),
        default="auto",
        help="whether to use flash attention (default: auto)",
    )
    parser.add_argument("--ubatch", type=_count, metavar="N", help="prompt tokens computed in one step")
    parser.add_argument(
        "--swa-full", action="store_true", help="cache the whole context for sliding-window attention too"
    )
    parser.add_argument(
        "--prefer",
        choices=("balanced", "quality", "speed", "context"),
        help="what to prefer where there is a choice (default: the setting `prefer`)",
    )
    parser.add_argument("--gpu-layers", type=int, metavar="N", help="layers on GPUs, as llama-server counts them")


def main(args: argparse.Namespace) -> int:
    from oprel.preview.plan import recommend
    from oprel.telemetry.hardware.probing import Hardware

    hardware, config = Hardware.load(args.hardware) if args.hardware else None, config_from(args)
    plan = recommend(
        args.model,
        constraints(args),
        quantization=args.quant,
        hardware=hardware,
        config=config,
        daemon=None if hardware else _loaded_models(config),
    )
    if args.json:
        render.json(plan)
    else:
        show(plan, columns_from(args))
    return _status(plan)


def _loaded_models(config: "Config") -> "ModelsResponse | None":
    """What this home's daemon has loaded; None when none is running."""
    from oprel.client_api import Client

    with Client(config=config.replace(host=""), start=False) as client:
        try:
            return client.engines()
        except (ConnectError, ShuttingDownError):
            return None


def _status(plan: "PlanResponse") -> int:
    if plan.fits:
        return 0
    return (ValidationError if plan.contradictory else InsufficientMemoryError).exit_code


def constraints(args: argparse.Namespace) -> "PlanConstraints":
    from oprel.telemetry.recommender.settings import PlanConstraints, Preference

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
        prefer=Preference(args.prefer) if args.prefer else None,
    )


def show(plan: "PlanResponse", choice: ColumnChoice = WHAT_FITS) -> None:
    _show_variants(plan.variants, choice)
    render.line()
    for line in described(plan):
        render.line(line)
    for device in plan.memory.devices:
        render.line()
        for line in bar(device, render.terminal_width() or WIDEST):
            render.verbatim(line)
    if plan.suggestions:
        render.line()
        for suggestion in plan.suggestions:
            render.line(suggestion.text)
    if plan.command:
        render.line()
        render.command(plan.command)
    for note in plan.notes:
        render.note(note)


def described(plan: "PlanResponse") -> Iterator[str]:
    """The decision in a sentence or two."""
    if not plan.fits:
        problem = "cannot run with these options" if plan.contradictory else "does not fit"
        yield f"{plan.model} {problem}: {plan.refusal}"
        yield from plan.advice
        if plan.contradictory:
            yield "The flag is --kv-cache-type."
        return
    requests = "one request" if plan.slots == 1 else f"each of {plan.slots} requests at a time"
    yield f"{plan.quantization} on {plan.where}{_speed(plan)}"
    yield f"a context of {plan.context} tokens for {requests}, KV cache in {plan.kv_cache_type}"
    yield from plan.reasons
    yield f"{_both(plan.memory.expected_bytes, plan.memory.total_bytes)}{_experience(plan)}"


def _both(expected: int, reserved: int) -> str:
    return f"{human_size(expected)} expected when busy, {human_size(reserved)} reserved"


def _experience(plan: "PlanResponse") -> str:
    """How sure the figures are.

    >>> from oprel.wire.daemon import PlanExperience, PlanResponse
    >>> _experience(PlanResponse.model_construct(experience=PlanExperience(loads=14, error=0.008, is_of_model=True)))
    ' (from 14 loads: ±1 %)'
    """
    by = plan.experience
    if by is None:
        return ""
    loads = ("1 load" if by.loads == 1 else f"{by.loads} loads") + ("" if by.is_of_model else " of similar models")
    return f" (from {loads}: ±{max(1, round(100 * by.error))} %)"


def bar(device: "PlacedMemory", width: int = WIDEST) -> Iterator[str]:
    """A bar of how full a device becomes, and the size of each part, in lines of at most `width`."""
    blocks = min(BAR, width - BESIDE_BAR)
    sizes = _sizes(device)
    scale = max(device.budget_bytes, device.total_bytes, 1)
    drawn, done = "", 0
    for name, size in sizes.items():
        done += size
        drawn += PARTS[name] * (round(blocks * done / scale) - len(drawn))
    yield f"{device.name}: {_both(device.expected_bytes, device.total_bytes)}"
    yield f"  [{drawn:·<{blocks}}] of {human_size(device.budget_bytes)} available"
    legend = (f"{name} {human_size(size)}".replace(" ", HARD_SPACE) for name, size in sizes.items() if size)
    for line in wrap(", ".join(legend), min(width, LEGEND), initial_indent="  ", subsequent_indent="  "):
        yield line.replace(HARD_SPACE, " ")


def _sizes(device: "PlacedMemory") -> dict[str, int]:
    """The size of each part, in the order of the bar."""
    overhead = device.overhead
    process = overhead.program + overhead.libraries + overhead.tokenizer + overhead.outputs + overhead.threads
    sizes = {
        "weights": device.weights_bytes,
        "repacked weights": overhead.repacked,
        "KV cache": device.kv_bytes,
        "state": device.state_bytes,
        "compute": device.compute_bytes,
        "output": device.output_bytes,
        "process": process,
        "projector": overhead.projector,
    }
    saved = device.expected_bytes - sum(sizes.values())
    return {**sizes, "checkpoints": saved, "in reserve": device.total_bytes - device.expected_bytes}


def _show_variants(variants: Sequence["PlannedVariant"], choice: ColumnChoice) -> None:
    titles = render.table(COLUMNS, map(_row, variants), choice)
    if WHY_NOT not in titles and not choice.titles:
        for variant in variants:
            if variant.reason:
                render.prose(variant.reason, f"{variant.quantization}: ")


def _row(variant: "PlannedVariant") -> tuple[str, ...]:
    speed = _figure(variant.tokens_per_second) if variant.tokens_per_second else ""
    context = f"{variant.context} x {variant.slots}" if variant.fits else ""
    return (
        CHOSEN if variant.chosen and variant.fits else "",
        variant.quantization,
        human_size(variant.size_bytes),
        "yes" if variant.fits else "no",
        human_size(variant.expected_bytes),
        human_size(variant.total_bytes),
        variant.where,
        context,
        speed if variant.fits else "",
        variant.reason,
    )


def _speed(plan: "PlanResponse") -> str:
    """The speed in words, and that at the end of the context where it is another one."""
    usual, full = plan.tokens_per_second, plan.full_tokens_per_second
    if not usual:
        return ""
    about = "perhaps" if plan.speed_guessed else "about"
    slower = f" ({_figure(full)} when the context is full)" if full and full < MUCH_SLOWER * usual else ""
    return f", {about} {_figure(usual)} tokens/s{slower}"


def _figure(tokens_per_second: float) -> str:
    return f"{tokens_per_second:.1f}" if tokens_per_second < EXACT_BELOW else f"{tokens_per_second:.0f}"


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def _types(text: str) -> tuple[str, str]:
    """One type for keys and values, or one for each."""
    from oprel.telemetry.memory.load_shape import CACHE_TYPES

    key, _, value = text.lower().partition(",")
    for name in (key, value or key):
        if name not in CACHE_TYPES:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(CACHE_TYPES)}")
    return key, value or key
