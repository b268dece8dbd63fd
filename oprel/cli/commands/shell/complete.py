"""`oprel __complete LINE` (hidden): prints completions of a line's last word, for the scripts of `completion`."""

import argparse
import re
from collections.abc import Callable, Iterable, Mapping

from oprel.cli.screen import render
from oprel.core.config import Config, load_config
from oprel.core.exceptions import OprelError

MODEL_ARGUMENTS = ("model", "source")
# What every shell takes as it is: they insert completions, and those of another machine's daemon may be any text.
WORD = re.compile(r"[\w@%+=:,./-]+", re.ASCII)


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("__complete")  # no help text: it is not listed
    parser.add_argument("line")
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.cli.main import build_parser, command_parsers

    for candidate in candidates(args.line, command_parsers(build_parser()), _models):
        render.verbatim(candidate)
    return 0


def candidates(
    line: str, commands: Mapping[str, argparse.ArgumentParser], models: Callable[[str], Iterable[str]]
) -> list[str]:
    """The words that complete `line`; none where the shell should offer files.

    `models` returns the model names with a prefix, and perhaps others.
    """
    *before, word = line.split(" ")[1:]
    words = [text for text in before if text]
    if not words or words == ["help"]:
        choices: Iterable[str] = (name for name in commands if not name.startswith("_"))
    elif words[0] not in commands:
        choices = ()
    else:
        choices = _of_command(commands[words[0]], words[1:], word, models)
    return [choice for choice in choices if choice.startswith(word) and WORD.fullmatch(choice)]


def _of_command(
    parser: argparse.ArgumentParser, words: list[str], word: str, models: Callable[[str], Iterable[str]]
) -> Iterable[str]:
    if word.startswith("-"):
        return (flag for action in parser._actions for flag in action.option_strings if flag.startswith("--"))
    positionals = [action for action in parser._actions if not action.option_strings]
    if not positionals:
        return ()
    # Counts the values of flags too: only parsing could distinguish them.
    count = sum(not text.startswith("-") for text in words)
    argument = positionals[min(count, len(positionals) - 1)]
    return models(word) if argument.dest in MODEL_ARGUMENTS else argument.choices or ()


def _models(prefix: str) -> Iterable[str]:
    """The installed models: of this machine from disk, without starting a daemon; of another one from its daemon."""
    try:
        config = load_config()
        names = _from_daemon(config) if config.host else _from_disk(config, prefix)
    except OprelError:  # completion has nowhere to report an error
        return ()
    return sorted(name.removesuffix(":latest") for name in names)


def _from_disk(config: Config, prefix: str) -> Iterable[str]:
    from oprel.core.models.manifests import Manifests

    return (manifest.name for manifest in Manifests.of(config).starting_with(prefix))


def _from_daemon(config: Config) -> Iterable[str]:
    from oprel.client_api import Client

    with Client(config=config) as client:
        return [model.name for model in client.list().models]
