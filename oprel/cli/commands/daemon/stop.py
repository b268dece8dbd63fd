"""`oprel stop MODEL`: unloads a model; `oprel stop --daemon`: stops the daemon."""

import argparse

from oprel.cli.options import add_address, asking_own_daemon, config_from, open_client, suggesting_names
from oprel.cli.screen import render
from oprel.core.config import Config
from oprel.core.exceptions import ConnectError, ModelNotFoundError, ValidationError


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("stop", help="unload a model, or stop the daemon")
    parser.add_argument("model", nargs="?", help="a name, or the path of a .gguf file")
    parser.add_argument("--daemon", action="store_true", help="stop this machine's daemon and its engines")
    parser.add_argument("--now", action="store_true", help="with --daemon: do not let running answers finish")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    config = config_from(args, compared=not args.daemon)
    if args.daemon and args.model:
        raise ValidationError("a model and --daemon cannot be given together", "Name a model, or use --daemon.")
    if args.daemon:
        return _stop_daemon(config, now=args.now)
    if not args.model or args.now:
        raise ValidationError("no model was given", "Name one, or stop the daemon with --daemon.")
    return _stop_model(config, args.model)


def _stop_daemon(config: Config, *, now: bool) -> int:
    from oprel.client.own_daemon import stop_daemon

    if not stop_daemon(config, now=now):
        raise ConnectError(f"no daemon is running for {config.home_dir}", "Choose another home folder with --home.")
    render.line("stopped the daemon")
    return 0


def _stop_model(config: Config, model: str) -> int:
    with open_client(config, start=False) as client, asking_own_daemon(client), suggesting_names(client, model):
        reply = client.unload(model)
    if not reply.unloaded:
        raise ModelNotFoundError(f"{model} is not loaded", "`oprel ps` lists the loaded models.")
    render.line(f"{model} stops when its running answers are done" if reply.in_flight else f"stopped {model}")
    return 0
