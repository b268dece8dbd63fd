"""Arguments that commands share, and the configuration they make."""

import argparse
import dataclasses
from collections.abc import Container, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from oprel.cli.screen import render
from oprel.core.config import Config, flag, load_config, settings
from oprel.core.exceptions import ConnectError, InvalidModelError, ModelNotFoundError, OprelError, ShuttingDownError
from oprel.core.names import DEFAULT_TAG, GUIDE, is_path
from oprel.core.settings import DURATIONS, PATHS, Value

if TYPE_CHECKING:
    from oprel.cli.conversation.session import Session
    from oprel.client_api import Client


def add_address(parser: argparse.ArgumentParser) -> None:
    """--config, --home and --host: which daemon a command talks to."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file")
    add_settings(parser, ("home", "host"))


def add_home(parser: argparse.ArgumentParser) -> None:
    """--config and --home, for commands that ask no daemon."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file")
    add_settings(parser, ("home",))


def add_settings(parser: argparse.ArgumentParser, names: Container[str]) -> None:
    """Flags for the settings called `names`."""
    for entry in settings():
        if entry.name in names:
            default = "" if entry.default == "" else f" (default: {entry.default})"
            text = f"{entry.metadata['help']}{default}".replace("%", "%%")
            parser.add_argument(flag(entry.name), dest=entry.name, metavar=_metavar(entry), help=text)


def _metavar(entry: dataclasses.Field[Value]) -> str:
    if choices := entry.metadata["choices"]:
        return "|".join(choices)
    if entry.name in PATHS:
        return "PATH"
    if entry.name in DURATIONS:
        return "DURATION"
    return "N" if entry.type is int else entry.name.rsplit("_", 1)[-1].upper()


def add_session(parser: argparse.ArgumentParser) -> None:
    """What a conversation and a single answer can be told; see `session_from`."""
    parser.add_argument("--system", metavar="TEXT", default="", help="the system message")
    parser.add_argument(
        "--option", metavar="NAME=VALUE", action="append", default=[], help="a parameter of the model; may be repeated"
    )
    parser.add_argument("--format", metavar="json|FILE", help="answer in JSON, or by the JSON schema of a file")
    parser.add_argument("--think", metavar="LEVEL", help="think first: --think, or --think=false, low, ... max")
    parser.add_argument("--hidethinking", action="store_true", help="do not show the thoughts")
    parser.add_argument(
        "--keepalive", "--keep-alive", metavar="DURATION", help='how long the model stays loaded, such as "5m"'
    )
    parser.add_argument("--verbose", action="store_true", help="show counts and times after the answer")
    parser.add_argument("--nowordwrap", action="store_true", help="do not break lines between words")


def session_from(args: argparse.Namespace) -> "Session":
    """The session that the arguments of `add_session` ask for. Raises ValidationError."""
    from oprel.cli.conversation.session import Session, answer_format, option, think_level

    return Session(
        model=args.model or "",
        system=args.system,
        options=dict(option(text) for text in args.option),
        format=None if args.format is None else answer_format(args.format),
        think=None if args.think is None else think_level(args.think),
        keep_alive=_keep_alive(args.keepalive),
        verbose=args.verbose,
        wordwrap=not args.nowordwrap,
        hide_thinking=args.hidethinking,
    )


def _keep_alive(text: str | None) -> float | str | None:
    """A plain number counts seconds; what else it may be is the daemon's to judge."""
    try:
        return float(text) if text else None
    except ValueError:
        return text


def without_daemon(config: Config) -> OprelError:
    """What there is to say when this machine's own daemon does not answer, and none is to be started."""
    from oprel.client.connect import daemon_pid, is_ending

    if is_ending(config):
        told = f"the daemon (pid {daemon_pid(config)}) is ending, and lets answers finish"
        return ShuttingDownError(told, "Try again in a moment; or end it with `oprel stop --daemon --now`.")
    return ConnectError(f"no daemon runs for {config.home_dir}", "So nothing is loaded; `oprel serve` starts one.")


@contextmanager
def asking_own_daemon(client: "Client") -> Iterator[None]:
    """Where none is to be started: says what there is to say when this machine's own does not answer."""
    import httpx

    try:
        yield
    except ConnectError as error:
        if client.config.host or not isinstance(error.__cause__, httpx.ConnectError):
            raise
        raise without_daemon(client.config) from error


@contextmanager
def suggesting_names(client: "Client", name: str) -> Iterator[None]:
    """When there is no model called `name`, the error also names one that is nearly called so."""
    try:
        yield
    except ModelNotFoundError as error:
        if near := _near(client, name):
            raise ModelNotFoundError(error.message, f"Did you mean {near}?", *error.resolution_steps) from error
        raise


def _near(client: "Client", name: str) -> str | None:
    if is_path(name):
        return None
    try:
        known = [model.name.removesuffix(f":{DEFAULT_TAG}") for model in client.list().models]
    except OprelError:  # the first error is the one to tell
        return None
    begins = [one for one in known if one.startswith(name)]
    return next(iter(begins + get_close_matches(name, known, n=1)), None)


def config_from(args: argparse.Namespace) -> Config:
    """Defaults < file < environment < the flags given. Raises ConfigError."""
    given = {entry.name: getattr(args, entry.name, None) for entry in settings()}
    return load_config({name: value for name, value in given.items() if value is not None}, file=args.config)


def default_model() -> str:
    """The model for who names none, after one line that says what it is."""
    render.note(
        f"{GUIDE} is a tiny model that comes with oprel and knows how to use it; name another for anything else."
    )
    return GUIDE


def check_path(model: str) -> None:
    """Say precisely what is wrong with a path, as the daemon, asked by anyone, does not.

    Raises ModelNotFoundError where nothing is, InvalidModelError where that is no model.
    """
    if not is_path(model):
        return
    from oprel.formats.detect import detect
    from oprel.formats.gguf import looks_like_gguf
    from oprel.formats.readers import knows

    path = Path(model).expanduser()
    if not path.exists():
        raise ModelNotFoundError(f"there is no file {model}", "Check the path; `oprel list` shows the named models.")
    if path.is_dir():
        if (path / "config.json").is_file() or knows(path):  # it is a model's: what is wrong with it the daemon tells
            return
        found = sorted(path.glob("*.gguf"))
        step = f"Name the file, for example {found[0]}." if found else "It holds no .gguf file, nor a config.json."
        raise InvalidModelError(f"{model} is a folder, not a model file", step)
    if not (looks_like_gguf(path) or knows(path)):
        format = detect(path).format
        raise InvalidModelError(f"{model} is a file of {format}", f"Name its folder, {path.parent}.")
