"""`oprel serve`: runs the daemon in the foreground."""

import argparse
import gc
from pathlib import Path

from oprel.cli.options import add_settings
from oprel.core.config import SERVER_SETTINGS, drop_in_notes, load_config


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    usage = "oprel serve [--drop-in] [--SETTING VALUE ...]"
    parser = commands.add_parser("serve", aliases=["start"], usage=usage, help="run the daemon in the foreground")
    parser.add_argument(
        "--drop-in", action="store_true", help="replace Ollama: use its port 11434 and its OLLAMA_* variables"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file")
    add_settings(parser, SERVER_SETTINGS)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    gc.disable()  # while the daemon's modules are imported, there is nothing to collect
    from oprel.server.daemon import serve

    gc.freeze()  # they stay to the end, so no collection, the interpreter's last included, need look at them
    gc.enable()
    flags = {name: value for name in SERVER_SETTINGS if (value := getattr(args, name)) is not None}
    config = load_config(flags, file=args.config, drop_in=args.drop_in)
    serve(config, drop_in_notes() if args.drop_in else ())
    return 0
