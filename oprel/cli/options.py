"""Arguments shared by commands, and the configuration and session that they result in."""

import argparse
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from oprel.cli.screen import render
from oprel.cli.screen.table import Column, ColumnChoice, argument, named
from oprel.core.config import Config, config_of, flag, given_settings, settings
from oprel.core.exceptions import InvalidModelError, ModelNotFoundError, OprelError
from oprel.core.settings import DURATIONS, PATHS, SWITCH, DeclaredSetting

if TYPE_CHECKING:
    from pydantic import JsonValue

    from oprel.cli.conversation.session import Session
    from oprel.client.plain.plain_client import PlainClient
    from oprel.client_api import Client
    from oprel.core.configuration.given import GivenSetting

    AnyClient = Client | PlainClient


LONGEST_METAVAR = 26  # characters; more choices than that are explained in the help


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
            values = f": {', '.join(entry.choices)}" if entry.choices and "|" not in _metavar(entry) else ""
            text = f"{entry.help}{values}{default}".replace("%", "%%")
            added = parser.add_argument(flag(entry.name), dest=entry.name, metavar=_metavar(entry), help=text)
            if entry.choices == SWITCH:  # the flag alone switches on
                added.nargs, added.const = "?", "on"


def _metavar(entry: DeclaredSetting) -> str:
    if entry.choices and len(joined := "|".join(entry.choices)) <= LONGEST_METAVAR:
        return joined
    if entry.name in PATHS:
        return "PATH"
    if entry.name in DURATIONS:
        return "DURATION"
    return "N" if entry.type is int else entry.name.rsplit("_", 1)[-1].upper()


def add_columns(parser: argparse.ArgumentParser, columns: Sequence[Column | str]) -> None:
    """--wide and --columns, for a command that prints a table; see `columns_from`."""
    names = [argument(column) for column in named(columns)]

    def chosen(text: str) -> tuple[str, ...]:
        titles = tuple(word.strip().lower() for word in text.split(",") if word.strip())
        unknown = [title for title in titles if title not in names]
        if unknown or not titles:
            what = f"{unknown[0]!r} is not a column" if unknown else "it names no column"
            raise argparse.ArgumentTypeError(f"{what}; the columns are {', '.join(names)}")
        return titles

    parser.add_argument("--wide", action="store_true", help="print all columns in full, however narrow the terminal is")
    text = f"print these columns, in this order: {', '.join(names)}"
    parser.add_argument("--columns", type=chosen, default=(), metavar="NAME,...", help=text)


def columns_from(args: argparse.Namespace) -> ColumnChoice:
    """The choice made by the arguments of `add_columns`."""
    return ColumnChoice(args.columns, args.wide)


def add_session(parser: argparse.ArgumentParser) -> None:
    """The arguments of a conversation and of a single answer; see `session_from`."""
    parser.add_argument("--system", metavar="TEXT", default="", help="the system message")
    parser.add_argument(
        "--option",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="an option, such as temperature=0, which may be repeated; each has a flag of its own, see below",
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
    _add_request_options(parser)


def _add_request_options(parser: argparse.ArgumentParser) -> None:
    """A flag for each option of a request."""
    from oprel.core.request_options import OPTIONS, OptionType

    sampling = parser.add_argument_group("options of the answer")
    loading = parser.add_argument_group("options that load the model anew")
    for option in OPTIONS.values():
        group = loading if option.for_loading else sampling
        name, dest = f"--{option.name.replace('_', '-')}", f"option_{option.name}"
        if option.type is OptionType.BOOLEAN:
            group.add_argument(name, dest=dest, action=argparse.BooleanOptionalAction, help=option.meaning)
        elif option.type is OptionType.TEXTS:
            group.add_argument(name, dest=dest, action="append", metavar="TEXT", help=f"{option.meaning}; repeatable")
        else:
            metavar = "N" if option.type is OptionType.INTEGER else "X"
            group.add_argument(name, dest=dest, metavar=metavar, help=option.meaning)


def _request_options(args: argparse.Namespace) -> "dict[str, JsonValue]":
    """The options that --option and the flags of `_add_request_options` set. Raises ValidationError."""
    from oprel.cli.conversation.session import option, parameter
    from oprel.core.request_options import OPTIONS

    options = dict(option(text) for text in args.option)
    for name in OPTIONS:
        value = getattr(args, f"option_{name}")
        if value is not None:
            options[name] = parameter(name, value if isinstance(value, list) else [str(value)])
    return options


def session_from(args: argparse.Namespace) -> "Session":
    """The session described by the arguments of `add_session`. Raises ValidationError."""
    from oprel.cli.conversation.session import Session, answer_format, think_level

    return Session(
        model=args.model or "",
        system=args.system,
        options=_request_options(args),
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


@contextmanager
def asking_own_daemon(client: "AnyClient") -> Iterator[None]:
    """Explains why this machine's own daemon does not answer, where none may be started."""
    from oprel.client.base import NotReachedError
    from oprel.client.plain.daemon_state import why_silent

    try:
        yield
    except NotReachedError as error:
        if client.config.host:
            raise
        raise why_silent(client.config) from error


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
    """A client for simple commands: a PlainClient over a Unix socket or a pipe, unless answers must be `checked`.

    Its answers have the same attributes, but are no pydantic models.
    """
    if checked or (config.host and not config.host.startswith(("unix:", "pipe:", "npipe:"))):
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


def config_from(args: argparse.Namespace, *, compared: bool = True) -> Config:
    """Defaults < file < environment < flags. Raises ConfigError.

    Prints what has no effect: unknown variables and, if `compared`, settings that the running daemon does not have.
    """
    config, notes = config_and_notes(args, compared=compared)
    for note in notes:
        render.note(note)
    return config


def config_and_notes(args: argparse.Namespace, *, compared: bool = True) -> tuple[Config, list[str]]:
    """The same, and what there is to print. Raises ConfigError."""
    from oprel.cli.screen.settings_notes import daemon_note, variable_notes

    given = given_from(args)
    config = config_of(given)
    return config, [*variable_notes(), *filter(None, [daemon_note(config, given, args.config) if compared else ""])]


def given_from(args: argparse.Namespace, *, drop_in: bool = False) -> "dict[str, GivenSetting]":
    """What is set in the file, the environment and the flags. Raises ConfigError."""
    values = {entry.name: getattr(args, entry.name, None) for entry in settings()}
    flags = {name: value for name, value in values.items() if value is not None}
    return given_settings(flags, file=args.config, drop_in=drop_in)


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
