"""`oprel run MODEL [PROMPT]`: one answer, or a conversation when there is a terminal and no prompt."""

import argparse
import itertools
import os
import sys

from oprel.cli import render
from oprel.cli.commands import chat
from oprel.cli.options import add_address, check_path, config_from, default_model
from oprel.core.exceptions import ValidationError


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("run", help="ask a model: `oprel run MODEL PROMPT`")
    parser.add_argument("model", nargs="?", help="a name, or the path of a .gguf file; without one, oprel's own guide")
    parser.add_argument("prompt", nargs="*", help="what to ask; standard input is put before it")
    parser.add_argument("--keepalive", metavar="DURATION", help='how long the model stays loaded, such as "5m"')
    parser.add_argument("--verbose", action="store_true", help="show counts and speed after the answer")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    args.model = args.model or default_model()
    at_terminal = sys.stdin is not None and sys.stdin.isatty()
    piped = "" if at_terminal or sys.stdin is None else sys.stdin.buffer.read().decode(errors="replace").strip()
    typed = os.fsencode(" ".join(args.prompt)).decode(errors="replace")
    prompt = "\n\n".join(text for text in (piped, typed) if text)
    if not prompt and at_terminal:
        return chat.main(args)
    if not prompt:
        raise ValidationError("there is no prompt", "Give one after the model's name, or on standard input.")
    check_path(args.model)
    return _answer(args, prompt)


def _answer(args: argparse.Namespace, prompt: str) -> int:
    from oprel.client_api import Client

    with Client(config=config_from(args)) as client:
        last = None
        pieces = client.generate(args.model, prompt, stream=True, keep_alive=_keep_alive(args.keepalive))
        try:
            with render.patience(f"waiting for {args.model}"):
                first = next(pieces)
            for last in itertools.chain([first], pieces):
                render.piece(last.response)
        finally:
            if last is not None:
                render.line()
        if args.verbose and last is not None:
            render.note(_figures(last.eval_count or 0, last.eval_duration or 0, last.load_duration or 0))
    return 0


def _keep_alive(text: str | None) -> float | str | None:
    """A plain number counts seconds; what else it may be is the daemon's to judge."""
    try:
        return float(text) if text else None
    except ValueError:
        return text


def _figures(tokens: int, duration_ns: int, load_ns: int) -> str:
    rate = tokens / duration_ns * 1e9 if duration_ns else 0.0
    return f"{tokens} tokens, {rate:.1f} tokens/s, loaded in {load_ns / 1e9:.2f} s"
