"""`oprel`: parses the arguments, runs the command, and turns errors into messages and exit codes."""

import argparse
import gc
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from oprel import __version__
from oprel.cli.screen import render
from oprel.cli.screen.encodings import replace_missing_characters
from oprel.cli.screen.table import wrapped
from oprel.core.configuration.environment import help_columns
from oprel.core.exceptions import OprelError, ValidationError

# Command -> its module in oprel.cli.commands. `oprel.cli.guidance.manual` says what each does.
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
    "restart": "daemon.restart",
    "config": "daemon.config",
    "service": "daemon.service",
    "keys": "daemon.keys",
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
ALIASES = {"start": "serve", "query": "run", "ls": "list", "models": "ps"}
VERSION_FLAGS = ("-v", "--version")
HIDDEN = ("shell.complete",)
# Between two collections of garbage: imports make many objects, which all stay.
NEW_OBJECTS = 50_000
INTERRUPTED = 130  # 128 + SIGINT, as in shells


class _HelpFormatter(argparse.HelpFormatter):
    """Knows the width without shutil, whose import argparse needs for every argument that it adds."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=help_columns() - 2)


class Parser(argparse.ArgumentParser):
    """Adds the manual's page to the help, and reports usage errors in the same format as all other errors."""

    def __init__(self, *, formatter_class: type[argparse.HelpFormatter] = _HelpFormatter, **options: Any) -> None:
        super().__init__(formatter_class=formatter_class, **options)

    def format_help(self) -> str:
        from oprel.cli.guidance.manual import MANUAL

        page = MANUAL.get(self.prog.partition(" ")[2])
        if page is None:
            return super().format_help()
        self.description = page.text
        return super().format_help() + listed("examples", page.examples, continued=" \\")

    def error(self, message: str, step: str = "") -> NoReturn:
        render.error(ValidationError(message, *filter(None, [step, f"See `{self.prog} --help`."])))
        self.exit(ValidationError.exit_code)


class _MainParser(Parser):
    """Lists the commands in groups."""

    def format_help(self) -> str:
        from oprel.cli.guidance.manual import GROUPS

        subparsers = next(action for action in self._actions if isinstance(action, argparse._SubParsersAction))
        about = {action.dest: action.help or "" for action in subparsers._choices_actions}
        width = max(map(len, about)) + 2
        description = "\n".join(wrapped(self.description or "", help_columns()))
        text = f"usage: oprel COMMAND [ARGUMENTS]\n\n{description}\n"
        for title, names in GROUPS.items():
            text += listed(title, (f"{name:{width}}{about[name]}" for name in names), indent=width + 2)
        return f"{text}\n{self.epilog}\n"


def listed(title: str, lines: Iterable[str], indent: int = 4, continued: str = "") -> str:
    """A paragraph of a help text. A long line is `continued` in the next one, with an `indent`."""
    width = help_columns() - len(continued)
    parts = (f"{continued}\n".join(wrapped(f"  {line}", width, " " * indent)) for line in lines)
    return "\n".join(["", f"{title}:", *parts, ""])


def build_parser(word: str = "") -> Parser:
    """The parser of arguments that begin with `word`; of all commands unless it decides which one is needed."""
    parser = _MainParser(
        prog="oprel",
        description="Run language models on this machine. For a start: oprel run guide",
        epilog="`oprel help COMMAND` explains a command and shows examples.",
    )
    version = f"oprel {__version__}"
    parser.add_argument(*VERSION_FLAGS, action="version", version=version, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
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
    sys.excepthook = _show_traceback
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
        _explain_owner(error)
        return 1


def _explain_owner(error: OSError) -> None:
    """Say what to do about a file of another user."""
    from oprel.core.home import owner_advice

    if isinstance(error, PermissionError) and error.filename:
        if advice := owner_advice(Path(os.fsdecode(error.filename))):
            render.note(advice)


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
    from oprel.cli.guidance.synonyms import hint_for_command

    parser.error(f"unknown command {words[0]!r}", hint_for_command(words, commands))


def _refuse(parser: Parser, words: Sequence[str]) -> NoReturn:
    """Exit with an error for arguments that the command does not take, suggesting the nearest flag."""
    from oprel.cli.guidance.synonyms import hint_for_flag

    flag = next((word.partition("=")[0] for word in words if word.startswith("-")), "")
    step = hint_for_flag(flag, parser._option_string_actions) if flag else ""
    parser.error(f"{parser.prog} has no flag {flag}" if flag else f"too many arguments: {' '.join(words)}", step)


def command_parsers(parser: argparse.ArgumentParser) -> dict[str, Parser]:
    """Each command's parser, by name and by alias."""
    subparsers = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return next((dict(action.choices) for action in subparsers), {})


def _show_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """For a fault of ours, whose traceback may quote a stranger's text."""
    from traceback import format_exception

    render.aside("".join(format_exception(kind, error, trace)))


def _give_up_output() -> None:
    """Redirect stdout to /dev/null, so that the interpreter's last flush does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
