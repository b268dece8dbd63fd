"""The manual page `oprel.1`, made of the command line's own parser and the table of settings. Standard library only."""

import argparse
import re
from collections.abc import Iterator

from oprel import __version__
from oprel.cli.main import COMMANDS, build_parser, command_parsers
from oprel.core.config import ENV_PREFIX, SETTINGS
from oprel.core.exceptions import OprelError, error_classes

FILES = {
    "~/.config/oprel/config.yaml": "settings; `oprel config edit` opens it",
    "~/.oprel": "models, conversations, logs and sockets (the setting home)",
    "~/.oprel/logs/daemon.log": "the log of a daemon that a command started",
}


def man_page() -> str:
    parser = build_parser()
    commands = command_parsers(parser)
    return "\n".join(
        [
            f'.TH OPREL 1 "" "oprel {__version__}" "User Commands"',
            *section("NAME", f"oprel \\- {text_of(parser.description).splitlines()[0].rstrip('.').lower()}"),
            *section("SYNOPSIS", ".B oprel", ".I COMMAND", "[arguments]"),
            *section("DESCRIPTION", *paragraphs(parser.description), *paragraphs(parser.epilog)),
            *section("COMMANDS", *(line for name in COMMANDS for line in command(name, commands[name], parser))),
            *section("SETTINGS", escaped(SETTINGS_INTRODUCTION), *settings()),
            *section("FILES", *(line for path, text in FILES.items() for line in item(path, text))),
            *section("EXIT STATUS", *exit_statuses()),
            "",
        ]
    )


SETTINGS_INTRODUCTION = (
    "Each is a key of config.yaml, a variable and a flag of `oprel serve`; flags win over variables, variables over "
    "the file. `oprel config` shows what is in effect."
)


def section(title: str, *lines: str) -> list[str]:
    return [f".SH {title}", *lines]


def command(name: str, parser: argparse.ArgumentParser, whole: argparse.ArgumentParser) -> Iterator[str]:
    yield f".SS oprel {escaped(name)}"
    summary = next((text for word, text in summaries(whole) if word == name), "")
    yield from paragraphs(parser.description or f"{summary[:1].upper()}{summary[1:]}.")
    for action in parser._actions:
        if action.help != argparse.SUPPRESS and "--help" not in action.option_strings:
            yield from item(heading(action), text_of(action.help and expanded(action, parser)))
    yield from paragraphs(parser.epilog)


def summaries(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """The line of each command in `oprel --help`."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                yield choice.dest.split()[0], text_of(choice.help)


def heading(action: argparse.Action) -> str:
    """The flag or the argument, as it is typed."""
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    if not action.option_strings:
        return value if isinstance(value, str) else " ".join(value)
    flags = ", ".join(action.option_strings)
    return flags if action.nargs == 0 else f"{flags} {value}"


def expanded(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    return parser._get_formatter()._expand_help(action)


def settings() -> Iterator[str]:
    for name, setting in SETTINGS.items():
        choices = f" ({', '.join(setting.choices)})" if setting.choices else ""
        default = f" Default: {setting.default}." if setting.default != "" else ""
        yield from item(f"{name}, {ENV_PREFIX}{name.upper()}", f"{setting.help}{choices}.{default}")


def exit_statuses() -> Iterator[str]:
    by_status: dict[int, list[str]] = {0: ["success"]}
    errors: list[type[OprelError]] = [OprelError, *error_classes().values()]
    for error in errors:
        by_status.setdefault(error.exit_code, []).append(error.code.replace("_", " "))
    for status, names in sorted(by_status.items()):
        yield from item(str(status), ", ".join(dict.fromkeys(names)))


def item(title: str, text: str) -> list[str]:
    return [".TP", f".B {escaped(title)}", escaped(text or "(no explanation)")]


def paragraphs(text: str | None) -> Iterator[str]:
    for line in text_of(text).splitlines():
        yield from (".br" if line.startswith(" ") else ".PP", escaped(line.strip())) if line.strip() else ()


def text_of(text: str | None) -> str:
    return text or ""


def escaped(text: str) -> str:
    """Text for roff: no escape, and no line that looks like a request."""
    plain = re.sub(r"\s+", " ", text).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain
