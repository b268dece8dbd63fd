"""`oprel stop MODEL`: let a loaded model go; `oprel stop --daemon`: end the daemon itself."""

import argparse

from oprel.cli.options import add_address, asking_own_daemon, config_from, suggesting_names
from oprel.cli.screen import render
from oprel.core.config import Config
from oprel.core.exceptions import ConnectError, ModelNotFoundError, ValidationError


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("stop", help="unload a model, or end the daemon")
    parser.add_argument("model", nargs="?", help="a name, or the path of a .gguf file")
    parser.add_argument("--daemon", action="store_true", help="end this machine's daemon and its engines")
    parser.add_argument("--now", action="store_true", help="with --daemon: let no answer finish")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    config = config_from(args)
    if args.daemon and args.model:
        raise ValidationError("one cannot stop a model and the daemon at once", "Name a model, or say --daemon.")
    if args.daemon:
        return _stop_daemon(config, now=args.now)
    if not args.model or args.now:
        raise ValidationError("there is no model to stop", "Name one, or end the daemon with --daemon.")
    return _stop_model(config, args.model)


def _stop_daemon(config: Config, *, now: bool) -> int:
    from oprel.client.connect import stop_daemon

    if not stop_daemon(config, now=now):
        raise ConnectError(f"no daemon runs for {config.home_dir}", "So there is nothing to end; --home names another.")
    render.line("stopped the daemon")
    return 0


def _stop_model(config: Config, model: str) -> int:
    from oprel.client_api import Client

    with Client(config=config, start=False) as client, asking_own_daemon(client), suggesting_names(client, model):
        reply = client.unload(model)
    if not reply.unloaded:
        raise ModelNotFoundError(f"{model} is not loaded", "`oprel ps` shows what is.")
    render.line(f"{model} stops when its last answer is done" if reply.in_flight else f"stopped {model}")
    return 0
