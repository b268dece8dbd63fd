"""`oprel show MODEL`: what is known about a model."""

import argparse

from oprel.cli import render
from oprel.cli.options import add_address, check_path, config_from


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("show", help="show what is known about a model")
    parser.add_argument("model", help="a name, or the path of a .gguf file")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.client_api import Client

    check_path(args.model)
    with Client(config=config_from(args)) as client:
        found = client.show(args.model)
    if args.json:
        render.json(found)
        return 0
    details = found.details
    facts = {
        "architecture": details.family,
        "parameters": details.parameter_size,
        "quantization": details.quantization_level,
        "context length": str(details.context_length or "unknown"),
        "embedding length": str(details.embedding_length or "unknown"),
        "capabilities": ", ".join(found.capabilities),
        "system": found.system or "",
    }
    render.table(("MODEL", args.model), [(name, value) for name, value in facts.items() if value])
    for parameter in (found.parameters or "").splitlines():
        render.line(f"parameter  {parameter}")
    return 0
