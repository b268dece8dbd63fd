"""`oprel chat MODEL`: a conversation."""

import argparse
import contextlib
import sys
from typing import TYPE_CHECKING

from oprel.cli.options import (
    add_address,
    add_model,
    add_session,
    check_path,
    config_from,
    default_model,
    session_from,
    show_warnings,
    suggesting_names,
)
from oprel.cli.pulling import pulling_if_missing
from oprel.cli.screen import render
from oprel.core.configuration.environment import is_dumb_terminal
from oprel.core.exceptions import ValidationError

if TYPE_CHECKING:
    from pathlib import Path

    from oprel.cli.conversation.session import Session
    from oprel.client_api import Client


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("chat", usage="oprel chat [FLAGS] [MODEL]", help="chat with a model")
    add_model(parser)
    parser.add_argument("-r", "--resume", action="store_true", help="continue the last conversation")
    add_session(parser)
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    if not args.model and not args.resume:
        args.model = default_model()
    return converse(args)


def converse(args: argparse.Namespace) -> int:
    """Run the conversation that the arguments describe."""
    from oprel.client_api import Client

    config = config_from(args)
    last = config.home_dir / "last-conversation.json"
    session = session_from(args)
    if vars(args).get("resume"):
        session = _resumed(last, session)
    check_path(session.model)
    with Client(config=config) as client:
        session = _loaded(client, session)
        _talk(client, session, last, config.home_dir / "history")
    return 0


def _resumed(last: "Path", session: "Session") -> "Session":
    from oprel.cli.conversation.session import load
    from oprel.utils.files import read_own

    try:
        return load(read_own(last), session)
    except OSError as error:
        raise ValidationError("there is no conversation to continue", "Leave out --resume to start one.") from error


def _loaded(client: "Client", session: "Session") -> "Session":
    from oprel.cli.conversation.session import loaded

    def load() -> None:
        with render.waiting(f"loading {session.model}"):
            client.chat(
                session.model, keep_alive=session.keep_alive
            )  # without messages: loads the model, or raises if it cannot chat

    with suggesting_names(client, session.model):
        pulling_if_missing(client, session.model, load)
    show_warnings(client)
    info = client.show(session.model)
    for note in info.notes or ():
        render.note(note)
    return loaded(session, session.model, info)


def _talk(client: "Client", session: "Session", last: "Path", history: "Path") -> None:
    from oprel.cli.conversation.keyboard import (
        at_terminal,
        dumb_keyboard,
        echo_off,
        plain_keyboard,
        terminal_keyboard,
    )
    from oprel.cli.conversation.repl import Repl
    from oprel.cli.conversation.session import dump
    from oprel.utils.files import write_atomically

    def keep(session: "Session") -> None:
        with contextlib.suppress(OSError):  # only --resume needs it
            write_atomically(last, dump(session))

    if not at_terminal():
        Repl(client, session, plain_keyboard(sys.stdin)).run()
        return
    render.line(f"{session.model} is ready; /? lists the commands.")
    ask = dumb_keyboard(sys.stdin) if is_dumb_terminal() else terminal_keyboard(client, history)
    repl = Repl(client, session, ask, keep, echo_off)
    repl.show_saved()
    if session.messages:
        render.line(f"Continuing the conversation after {len(session.messages)} messages.")
    repl.run()
