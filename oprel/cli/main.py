"""`oprel`: parses the arguments, runs the command, and turns errors into messages and exit codes."""

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from oprel import __version__
from oprel.cli.screen import render
from oprel.cli.screen.encodings import replace_missing_characters
from oprel.core.config import help_columns
from oprel.core.exceptions import OprelError, ValidationError

# Command -> its module in oprel.cli.commands, in the order of `--help`.
COMMANDS = {
    "serve": "daemon.serve",
    "run": "talk.run",
    "chat": "talk.chat",
    "pull": "registries.pull",
    "search": "registries.search",
    "push": "registries.push",
    "import": "models.import_",
    "list": "models.list",
    "list-models": "registries.list_models",
    "ps": "daemon.ps",
    "logs": "daemon.logs",
    "show": "models.show",
    "inspect": "models.inspect",
    "engines": "machine.engines",
    "stop": "daemon.stop",
    "create": "models.create",
    "cp": "models.cp",
    "rm": "models.rm",
    "cache": "models.cache",
    "hf": "registries.hf",
    "crash": "daemon.crash",
    "quarantine": "daemon.quarantine",
    "plan": "machine.plan",
    "hardware": "machine.hardware",
    "bench": "machine.bench",
    "doctor": "machine.doctor",
    "selftest": "machine.selftest",
    "completion": "shell.completion",
    "version": "shell.version",
    "help": "shell.help",
}
ALIASES = {"start": "serve", "ls": "list", "models": "ps"}
VERSION_FLAGS = ("-v", "--version")
HIDDEN = ("shell.complete",)
# Commands of Ollama that oprel lacks -> what to do instead.
ELSEWHERE = {
    **dict.fromkeys(
        ("signin", "login", "signout", "logout"),
        "oprel needs no account. For gated models on Hugging Face, use `oprel hf login`.",
    ),
    "launch": "Configure the program to use http://127.0.0.1:11435; README.md shows how.",
}
# Between two collections of garbage: imports make many objects, which all stay.
NEW_OBJECTS = 50_000
INTERRUPTED = 130  # 128 + SIGINT, as in shells


class _HelpFormatter(argparse.HelpFormatter):
    """Knows the width without shutil, whose import argparse needs for every argument that it adds."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=help_columns() - 2)


class Parser(argparse.ArgumentParser):
    """Reports usage errors in the same format as all other errors."""

    def __init__(self, *, formatter_class: type[argparse.HelpFormatter] = _HelpFormatter, **options: Any) -> None:
        super().__init__(formatter_class=formatter_class, **options)

    def error(self, message: str, step: str = "") -> NoReturn:
        render.error(ValidationError(message, *filter(None, [step, f"See `{self.prog} --help`."])))
        self.exit(ValidationError.exit_code)


def build_parser(word: str = "") -> Parser:
    """The parser of arguments that begin with `word`; of all commands unless it decides which one is needed."""
    parser = Parser(
        prog="oprel",
        description="Run language models on this machine.",
        epilog="`oprel help COMMAND` shows the help of a command.",
    )
    version = f"oprel {__version__}"
    parser.add_argument(*VERSION_FLAGS, action="version", version=version, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for module in _modules(ALIASES.get(word, word)):
        import_module(f"oprel.cli.commands.{module}").add_parser(commands)
    return parser


def _modules(word: str) -> Sequence[str]:
    """The modules of the commands that `word` may lead to: importing all takes longer than most commands."""
    if word in VERSION_FLAGS:
        return ()
    return (COMMANDS[word],) if word in COMMANDS else (*COMMANDS.values(), *HIDDEN)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    if sys.stdout is None:  # closed by the caller, as with `>&-`
        sys.stdout = open(os.devnull, "w")
    replace_missing_characters()
    gc.set_threshold(NEW_OBJECTS)
    try:
        status = _run(arguments)
        gc.freeze()  # the interpreter's last collection need not look at what ends with the process anyway
        sys.stdout.flush()  # here, where a failure can still be reported, not at interpreter exit
        return status
    except OprelError as error:
        render.error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output is gone, as with `| head`
        _give_up_output()
        return 0
    except OSError as error:
        _give_up_output()
        render.note(f"Error: {error}")
        return 1


def _run(arguments: Sequence[str] | None) -> int:
    words = _with_values(sys.argv[1:] if arguments is None else arguments)
    parser = build_parser(words[0] if words else "")
    try:
        _check_command(parser, words)
        args, rest = parser.parse_known_args(words)
        # Before Python 3.13 argparse ends a prompt at the first flag: `run MODEL --verbose words`.
        words_follow = hasattr(args, "prompt") and not any(word.startswith("-") for word in rest)
        if rest and not words_follow:
            _refuse(command_parsers(parser).get(words[0], parser), rest)
    except SystemExit as done:  # --help, --version, or a usage error that argparse has already printed
        return int(done.code or 0)
    if not hasattr(args, "main"):  # `oprel` alone
        parser.print_help()
        return 0
    if rest:
        args.prompt += rest
    return int(args.main(args))


def _with_values(arguments: Sequence[str]) -> list[str]:
    """Write `--think` as `--think=true`: else argparse takes the first word of the prompt as its value."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags = [f"{word}=true" if word in ("--think", "--truncate") else word for word in arguments[:end]]
    return [*flags, *arguments[end:]]


def _check_command(parser: Parser, words: Sequence[str]) -> None:
    """Suggest the nearest command, where argparse would list all of them."""
    commands = command_parsers(parser)
    if not words or words[0] in commands or words[0] in parser._option_string_actions:
        return
    if words[0].startswith("-"):
        parser.error(f"{words[0]} must come after the command", "Write `oprel COMMAND`, then the flags.")
    from difflib import get_close_matches

    near = () if words[0] in ELSEWHERE else get_close_matches(words[0], commands, n=1)
    guess = f"Did you mean `oprel {near[0]}`?" if near else ""
    parser.error(f"unknown command {words[0]!r}", ELSEWHERE.get(words[0], guess))


def _refuse(parser: Parser, words: Sequence[str]) -> NoReturn:
    """Exit with an error for arguments that the command does not take, suggesting the nearest flag."""
    from difflib import get_close_matches

    flag = next((word.partition("=")[0] for word in words if word.startswith("-")), "")
    near = get_close_matches(flag, parser._option_string_actions, n=1)
    step = f"Did you mean {near[0]}?" if near else ""
    parser.error(f"{parser.prog} has no flag {flag}" if flag else f"too many arguments: {' '.join(words)}", step)


def command_parsers(parser: argparse.ArgumentParser) -> dict[str, Parser]:
    """Each command's parser, by name and by alias."""
    subparsers = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return next((dict(action.choices) for action in subparsers), {})


def _give_up_output() -> None:
    """Redirect stdout to /dev/null, so that the interpreter's last flush does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
