"""`oprel`: the parser, the dispatch, and the one place where errors become words and exit codes."""

import argparse
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

from oprel import __version__
from oprel.cli import render
from oprel.core.exceptions import OprelError

# Command -> its module in oprel.cli.commands, in the order of the help.
COMMANDS = {
    "serve": "serve",
    "run": "run",
    "chat": "chat",
    "list": "list",
    "ps": "ps",
    "show": "show",
    "stop": "stop",
    "create": "create",
    "cp": "cp",
    "rm": "rm",
    "completion": "completion",
    "version": "version",
    "help": "help",
}
HIDDEN = ("complete",)
INTERRUPTED = 130  # 128 + SIGINT, as shells count


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="oprel", description="Run language models on this machine.")
    parser.add_argument("-v", "--version", action="version", version=f"oprel {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND")
    for module in (*COMMANDS.values(), *HIDDEN):
        import_module(f"oprel.cli.commands.{module}").add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    if sys.stdout is None:  # closed by the caller, as with `>&-`
        sys.stdout = open(os.devnull, "w")
    try:
        status = _run(arguments)
        sys.stdout.flush()  # here, where a failure can be told, and not at the interpreter's end
        return status
    except OprelError as error:
        render.error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output left, as with `| head`
        _give_up_output()
        return 0
    except OSError as error:
        _give_up_output()
        render.note(f"Error: {error}")
        return 1


def _run(arguments: Sequence[str] | None) -> int:
    parser = build_parser()
    words = _with_values(sys.argv[1:] if arguments is None else arguments)
    try:
        _check_command(parser, words)
        args, rest = parser.parse_known_args(words)
        # Before Python 3.13 argparse lets a prompt's words end at the first flag: `run MODEL --verbose words`.
        words_follow = hasattr(args, "prompt") and not any(word.startswith("-") for word in rest)
        if rest and not words_follow:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
    except SystemExit as done:  # --help, --version, or wrong use, which argparse has printed
        return int(done.code or 0)
    if not hasattr(args, "main"):  # `oprel` alone
        parser.print_help()
        return 0
    if rest:
        args.prompt += rest
    return int(args.main(args))


def _with_values(arguments: Sequence[str]) -> list[str]:
    """Flags that alone mean true: argparse would take the word after them, which belongs to the prompt."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags = [f"{word}=true" if word in ("--think", "--truncate") else word for word in arguments[:end]]
    return [*flags, *arguments[end:]]


def _check_command(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """End with what was meant, where argparse would list everything there is."""
    known = command_parsers(parser)
    if known and words and not words[0].startswith("-") and words[0] not in known:
        near = get_close_matches(words[0], known, n=1)
        parser.error(f"there is no command {words[0]!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def command_parsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parser of each command, by its name and its aliases."""
    return next((dict(one.choices) for one in parser._actions if isinstance(one, argparse._SubParsersAction)), {})


def _give_up_output() -> None:
    """Point stdout at nothing, so that the interpreter's last flush of it finds no fault."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
