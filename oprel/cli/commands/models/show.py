"""`oprel show MODEL`: shows a model's details."""

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from oprel.cli.options import add_address, check_path, config_from, open_client, suggesting_names
from oprel.cli.screen import render
from oprel.cli.screen.table import wrapped
from oprel.core.exceptions import ValidationError
from oprel.utils.text import human_size, one_line

if TYPE_CHECKING:
    from oprel.api_models import OllamaShowResponse

PARTS = {
    "license": "its license",
    "modelfile": "its Modelfile",
    "parameters": "its parameters",
    "template": "its prompt template",
    "system": "its system message",
}
GAP = "    "
LICENSE_LINES = 2
LONGEST_VALUE = 80  # characters of a metadata value


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("show", help="show a model's details")
    parser.add_argument("model", help="a name, or the path of a .gguf file")
    only = parser.add_mutually_exclusive_group()
    for part, text in PARTS.items():
        only.add_argument(f"--{part}", dest="part", action="store_const", const=part, help=f"print only {text}")
    only.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("-v", "--verbose", action="store_true", help="also show the file's metadata and tensors")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    check_path(args.model)
    with open_client(config_from(args), checked=args.json) as client, suggesting_names(client, args.model):
        info = client.show(args.model, verbose=args.verbose)
    if args.json:
        render.json(info)
    elif args.part:
        render.data(f"{part(info, args.part)}\n")
    else:
        render.verbatim(described(info, args.verbose, render.terminal_width()))
    return 0


def part(info: "OllamaShowResponse", name: str) -> str:
    """One part of the details, unformatted. Raises ValidationError for an unknown part."""
    match name:
        case "license":
            text = info.license
        case "modelfile":
            text = info.modelfile
        case "parameters":
            text = info.parameters
        case "template":
            text = info.template
        case "system":
            text = info.system
        case _:
            raise ValidationError(f"there is no {name!r} to show", f"The choices are info, {', '.join(PARTS)}.")
    return text.rstrip("\n") if text else f"The model has no {name}."


def described(info: "OllamaShowResponse", verbose: bool = False, width: int = 0) -> str:
    """All details in sections. `width`: that of a terminal, at which values wrap."""
    sections: dict[str, Sequence[Sequence[str]]] = {
        "Model": _model(info),
        "Projector": _projector(info),
        "Memory": _memory(info),
        "Capabilities": [(name,) for name in info.capabilities],
        "Parameters": _parameters(info),
        "Metadata": _metadata(info) if verbose else [],
        "Tensors": _tensors(info) if verbose else [],
        "System": [(line,) for line in (info.system or "").splitlines()],
        "Notes": [(line,) for line in info.notes or ()],
        "License": [(line,) for line in (info.license or "").strip().splitlines()[:LICENSE_LINES]],
    }
    return "\n\n".join(_section(title, rows, width) for title, rows in sections.items() if rows)


def _model(info: "OllamaShowResponse") -> list[tuple[str, str]]:
    details = info.details
    facts = {
        "architecture": details.family,
        "parameters": details.parameter_size,
        "context length": str(details.context_length or _of_architecture(info, "context_length")),
        "embedding length": str(details.embedding_length or _of_architecture(info, "embedding_length")),
        "quantization": details.quantization_level,
    }
    return [(name, value) for name, value in facts.items() if value]


def _parameters(info: "OllamaShowResponse") -> list[list[str]]:
    """Names and values, and where those come from that no Modelfile sets."""
    sources = {name: f"({source})" for name, source in (info.parameter_sources or {}).items() if source != "Modelfile"}
    rows = [line.split(None, 1) for line in (info.parameters or "").splitlines()]
    return [[*row, sources[row[0]]] if row[0] in sources else row for row in rows]


def _of_architecture(info: "OllamaShowResponse", key: str) -> str:
    return str(info.model_info.get(f"{info.details.family}.{key}") or "unknown")


def _metadata(info: "OllamaShowResponse") -> list[tuple[str, str]]:
    return [(name, _short(value)) for name, value in info.model_info.items() if value is not None]


def _tensors(info: "OllamaShowResponse") -> list[tuple[str, str, str]]:
    return [(str(tensor["name"]), str(tensor["type"]), str(tensor["shape"])) for tensor in info.tensors or ()]


def _projector(info: "OllamaShowResponse") -> list[tuple[str, str]]:
    facts = info.projector_info or {}
    return [(str(name), _short(value)) for name, value in facts.items()]


def _memory(info: "OllamaShowResponse") -> list[tuple[str, str]]:
    """What it would take if it were loaded now."""
    memory: Any = (info.plan or {}).get("memory")  # a PlannedMemory
    if not memory:
        return []
    return [
        ("expected when busy", human_size(memory["expected_bytes"])),
        ("reserved", human_size(memory["total_bytes"])),
    ]


def _section(title: str, rows: Sequence[Sequence[str]], width: int) -> str:
    cells = [[one_line(cell) for cell in row] for row in rows]  # what a file says must not look like a section
    return "\n".join([f"  {title}", *(f"{GAP}{line}".rstrip() for line in _aligned(cells, width - len(GAP)))])


def _aligned(rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """The cells of each row under each other; the last one wraps at `width`, if that is positive."""
    widths = [max((len(row[index]) for row in rows if len(row) > index), default=0) for index in range(2)]
    for *cells, last in rows:
        head = "".join(f"{cell:{wide}}{GAP}" for cell, wide in zip(cells, widths, strict=False))
        yield from wrapped(head + last, width, " " * len(head)) if width > 0 else [head + last]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
