"""`oprel run MODEL [PROMPT]`: prints one answer, or starts a conversation at a terminal without a prompt."""

import argparse
import itertools
import os
import sys
from typing import TYPE_CHECKING

from oprel.cli.commands.talk import chat
from oprel.cli.options import (
    add_address,
    add_model,
    add_session,
    check_path,
    config_from,
    default_model,
    open_client,
    session_from,
    show_warnings,
    suggesting_names,
)
from oprel.cli.pulling import pulling_if_missing
from oprel.cli.screen import render
from oprel.core.exceptions import UnsupportedError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oprel.api_models import GenerateResponse
    from oprel.cli.conversation.session import Session
    from oprel.cli.options import AnyClient


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    usage = "oprel run [FLAGS] [MODEL] [PROMPT ...]"
    parser = commands.add_parser("run", aliases=["query"], usage=usage, help="ask a model: `oprel run MODEL PROMPT`")
    add_model(parser)
    parser.add_argument(
        "prompt", nargs="*", help="what to ask; standard input goes before it (default: start a conversation)"
    )
    add_session(parser)
    parser.add_argument(
        "--truncate",
        choices=("true", "false"),
        help="for embeddings: cut text that is too long (true) or refuse it (false)",
    )
    parser.add_argument("--dimensions", type=int, metavar="N", help="for embeddings: the number of dimensions")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    args.model = args.model or default_model()
    at_terminal = sys.stdin is not None and sys.stdin.isatty()
    prompt = _prompt(args, at_terminal)
    if not prompt and at_terminal:
        return chat.converse(args)
    if not prompt:
        raise ValidationError("no prompt was given", "Write one after the model's name, or pass it on standard input.")
    check_path(args.model)
    session = session_from(args)
    with open_client(config_from(args)) as client, suggesting_names(client, args.model):
        ask = _embed if args.dimensions is not None or args.truncate is not None else _answer_or_embed
        pulling_if_missing(client, args.model, lambda: ask(client, session, args, prompt))
    return 0


def _prompt(args: argparse.Namespace, at_terminal: bool) -> str:
    piped = "" if at_terminal or sys.stdin is None else sys.stdin.buffer.read().decode(errors="replace").strip()
    typed = os.fsencode(" ".join(args.prompt)).decode(errors="replace")
    return "\n\n".join(text for text in (piped, typed) if text)


def _answer_or_embed(client: "AnyClient", session: "Session", args: argparse.Namespace, prompt: str) -> None:
    try:
        pieces = _ask(client, session, prompt)
        with render.waiting(f"waiting for {session.model}"):
            first = next(pieces)
        show_warnings(client)
        if first.base_model:
            render.note("base model: continues your text")
    except UnsupportedError:
        capabilities = client.show(session.model).capabilities
        if "embedding" not in capabilities or "completion" in capabilities:
            raise
        _embed(client, session, args, prompt)
    else:
        _show(itertools.chain([first], pieces), session)


def _ask(client: "AnyClient", session: "Session", prompt: str) -> "Iterator[GenerateResponse]":
    from oprel.cli.conversation.images import encode, images_for

    text, images = images_for(client, session.model, prompt)
    return client.generate(
        session.model,
        text,
        stream=True,
        system=session.system or None,
        images=[encode(path) for path in images] or None,
        options=session.options or None,
        format=session.format,
        think=session.think,
        keep_alive=session.keep_alive,
    )


def _show(pieces: "Iterator[GenerateResponse]", session: "Session") -> None:
    from oprel.cli.conversation.answer_view import AnswerView, look, print_notes

    answer = AnswerView(look(session.wordwrap, not session.hide_thinking))
    last = None
    try:
        for last in pieces:
            answer.add(last.response, last.thinking)
    finally:
        answer.end()
        render.line()
    if last is not None:
        print_notes(last, session.verbose)


def _embed(client: "AnyClient", session: "Session", args: argparse.Namespace, prompt: str) -> None:
    import json

    with render.waiting(f"waiting for {session.model}"):
        reply = client.embed(
            session.model,
            prompt,
            truncate=None if args.truncate is None else args.truncate == "true",
            dimensions=args.dimensions,
            options=session.options or None,
            keep_alive=session.keep_alive,
        )
    render.verbatim(json.dumps([*reply.embeddings[0]]))
