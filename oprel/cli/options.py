"""Arguments shared by commands, and the configuration and session that they result in."""

import argparse
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from oprel.cli.screen import render
from oprel.core.config import Config, flag, load_config, settings
from oprel.core.exceptions import ConnectError, InvalidModelError, ModelNotFoundError, OprelError, ShuttingDownError
from oprel.core.settings import DURATIONS, PATHS, DeclaredSetting

if TYPE_CHECKING:
    from oprel.cli.conversation.session import Session
    from oprel.client.plain.plain_client import PlainClient
    from oprel.client_api import Client

    AnyClient = Client | PlainClient


def add_address(parser: argparse.ArgumentParser) -> None:
    """--config, --home and --host: which daemon a command talks to."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file")
    add_settings(parser, ("home", "host"))


def add_home(parser: argparse.ArgumentParser) -> None:
    """--config and --home, for commands that use no daemon."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file")
    add_settings(parser, ("home",))


def add_settings(parser: argparse.ArgumentParser, names: Container[str]) -> None:
    """Flags for the settings called `names`."""
    for entry in settings():
        if entry.name in names:
            default = "" if entry.default == "" else f" (default: {entry.default})"
            text = f"{entry.help}{default}".replace("%", "%%")
            parser.add_argument(flag(entry.name), dest=entry.name, metavar=_metavar(entry), help=text)


def _metavar(entry: DeclaredSetting) -> str:
    if choices := entry.choices:
        return "|".join(choices)
    if entry.name in PATHS:
        return "PATH"
    if entry.name in DURATIONS:
        return "DURATION"
    return "N" if entry.type is int else entry.name.rsplit("_", 1)[-1].upper()


def add_session(parser: argparse.ArgumentParser) -> None:
    """The arguments of a conversation and of a single answer; see `session_from`."""
    parser.add_argument("--system", metavar="TEXT", default="", help="the system message")
    parser.add_argument(
        "--option",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="an option, such as temperature=0; may be repeated",
    )
    parser.add_argument("--format", metavar="json|FILE", help="answer in JSON, or by the JSON schema in a file")
    parser.add_argument(
        "--think", metavar="LEVEL", help="think before answering: --think, or --think=false, low, ... max"
    )
    parser.add_argument("--hidethinking", action="store_true", help="do not show the thoughts")
    parser.add_argument(
        "--keepalive", "--keep-alive", metavar="DURATION", help='how long the model stays loaded, such as "5m"'
    )
    parser.add_argument("--verbose", action="store_true", help="show counts and times after the answer")
    parser.add_argument("--nowordwrap", action="store_true", help="do not break lines between words")


def session_from(args: argparse.Namespace) -> "Session":
    """The session described by the arguments of `add_session`. Raises ValidationError."""
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
    """A plain number is seconds; the daemon checks anything else."""
    try:
        return float(text) if text else None
    except ValueError:
        return text


def without_daemon(config: Config) -> OprelError:
    """The error when this machine's own daemon does not answer and none may be started."""
    from oprel.client.own_daemon import daemon_pid, is_ending

    if is_ending(config):
        message = f"the daemon (pid {daemon_pid(config)}) is stopping, and lets answers finish"
        return ShuttingDownError(message, "Try again in a moment, or stop it at once: `oprel stop --daemon --now`.")
    return ConnectError(
        f"no daemon runs for {config.home_dir}", "So no model is loaded. `oprel serve` starts a daemon."
    )


@contextmanager
def asking_own_daemon(client: "AnyClient") -> Iterator[None]:
    """Explains why this machine's own daemon does not answer, where none may be started."""
    from oprel.client.base import NotReachedError

    try:
        yield
    except NotReachedError as error:
        if client.config.host:
            raise
        raise without_daemon(client.config) from error


@contextmanager
def suggesting_names(client: "AnyClient", name: str) -> Iterator[None]:
    """Adds the name of a similar model to the error for an unknown `name`."""
    try:
        yield
    except ModelNotFoundError as error:
        if near := _near(client, name):
            raise ModelNotFoundError(error.message, f"Did you mean {near}?", *error.resolution_steps) from error
        raise


def _near(client: "AnyClient", name: str) -> str | None:
    from difflib import get_close_matches

    from oprel.core.names import DEFAULT_TAG, is_path

    if is_path(name):
        return None
    try:
        installed = [model.name.removesuffix(f":{DEFAULT_TAG}") for model in client.list().models]
    except OprelError:  # the first error is the one to report
        return None
    longer = [other for other in installed if other.startswith(name)]
    return next(iter(longer + get_close_matches(name, installed, n=1)), None)


def open_client(config: Config, *, start: bool = True, checked: bool = False) -> "AnyClient":
    """A client for simple commands: a PlainClient where the daemon has a Unix socket, unless answers must be `checked`.

    Its answers have the same attributes, but are no pydantic models.
    """
    if checked or (config.host and not config.host.startswith("unix:")):
        from oprel.client_api import Client

        return Client(config=config, start=start)
    from oprel.client.plain.plain_client import PlainClient

    return PlainClient(config, start=start)


def show_warnings(client: "AnyClient") -> None:
    """Say on standard error what slows every model of this daemon down, such as a GPU that its engine does not use."""
    try:
        for warning in client.health().warnings:
            render.note(warning)
    except OprelError:  # the answer itself did come
        return


def config_from(args: argparse.Namespace) -> Config:
    """Defaults < file < environment < flags. Raises ConfigError."""
    given = {entry.name: getattr(args, entry.name, None) for entry in settings()}
    return load_config({name: value for name, value in given.items() if value is not None}, file=args.config)


def add_model(parser: argparse.ArgumentParser) -> None:
    """The model to talk to, which may be left out."""
    parser.add_argument(
        "model", nargs="?", help="a name, or the path of a .gguf file (default: guide, oprel's own help model)"
    )


def default_model() -> str:
    """The model of a command that names none, after a line that introduces it."""
    from oprel.core.names import GUIDE

    render.note(f"{GUIDE} is a tiny model that comes with oprel and explains its use; name another for anything else.")
    return GUIDE


def check_path(model: str) -> None:
    """Report precisely what is wrong with a path; the daemon, which strangers may call, does not.

    Raises ModelNotFoundError if nothing is there, InvalidModelError if it is not a model.
    """
    from oprel.core.names import is_path

    if not is_path(model):
        return
    from oprel.formats.detect import detect
    from oprel.formats.gguf import looks_like_gguf
    from oprel.formats.readers import knows

    path = Path(model).expanduser()
    if not path.exists():
        raise ModelNotFoundError(
            f"there is no file {model}", "Check the path. `oprel list` shows the installed models."
        )
    if path.is_dir():
        if (path / "config.json").is_file() or knows(path):  # a model; the daemon reports what is wrong with it
            return
        files = sorted(path.glob("*.gguf"))
        step = f"Name the file, for example {files[0]}." if files else "It has neither a .gguf file nor a config.json."
        raise InvalidModelError(f"{model} is a folder, not a model file", step)
    if not (looks_like_gguf(path) or knows(path)):
        format = detect(path).format
        raise InvalidModelError(f"{model} is a {format} file", f"Name its folder, {path.parent}.")
