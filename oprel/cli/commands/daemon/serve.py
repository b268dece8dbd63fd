"""`oprel serve`: runs the daemon in the foreground."""

import argparse
import gc
from pathlib import Path

from oprel.cli.options import add_settings
from oprel.cli.screen.settings_notes import variable_notes
from oprel.core.config import SERVER_SETTINGS, config_file, config_of, drop_in_notes, given_settings
from oprel.core.configuration.given import Given
from oprel.core.configuration.published import DaemonStart


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    usage = "oprel serve [--drop-in] [--SETTING VALUE ...]"
    parser = commands.add_parser("serve", aliases=["start"], usage=usage, help="run the daemon in the foreground")
    parser.add_argument(
        "--drop-in", action="store_true", help="replace Ollama: use its port 11434 and its OLLAMA_* variables"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file")
    parser.add_argument("--service", metavar="KIND", default="", help=argparse.SUPPRESS)  # of `oprel service install`
    add_settings(parser, SERVER_SETTINGS)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    gc.disable()  # while the daemon's modules are imported, there is nothing to collect
    from oprel.server.daemon.serve import serve

    gc.freeze()  # they stay to the end, so no collection, the interpreter's last included, need look at them
    gc.enable()
    flags = {name: value for name in SERVER_SETTINGS if (value := getattr(args, name)) is not None}

    def read() -> Given:
        return given_settings(flags, file=args.config, drop_in=args.drop_in)

    given = read()
    start = DaemonStart(
        config=config_of(given),
        given=given,
        file=str(args.config or config_file() or ""),
        drop_in=args.drop_in,
        service=args.service,
    )
    serve(start, read, [*variable_notes(), *(drop_in_notes() if args.drop_in else ())])
    return 0
