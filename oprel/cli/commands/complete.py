"""`oprel __complete LINE`, hidden: what the last word of a command line may become; for the scripts of `completion`."""

import argparse
from collections.abc import Callable, Iterable, Mapping

from oprel.cli.screen import render
from oprel.core.config import Config, load_config
from oprel.core.exceptions import OprelError

MODEL_ARGUMENTS = ("model", "source")


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("__complete")  # without help it is not listed
    parser.add_argument("line")
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.cli.main import build_parser, command_parsers

    for candidate in candidates(args.line, command_parsers(build_parser()), _models):
        render.line(candidate)
    return 0


def candidates(
    line: str, commands: Mapping[str, argparse.ArgumentParser], models: Callable[[], Iterable[str]]
) -> list[str]:
    """The words that complete `line`; none where the shell should offer files. `models` gives the names there are."""
    *before, word = line.split(" ")[1:]
    words = [one for one in before if one]
    if not words or words == ["help"]:
        known: Iterable[str] = (name for name in commands if not name.startswith("_"))
    elif words[0] not in commands:
        known = ()
    else:
        known = _of_command(commands[words[0]], words[1:], word, models)
    return [one for one in known if one.startswith(word)]


def _of_command(
    parser: argparse.ArgumentParser, words: list[str], word: str, models: Callable[[], Iterable[str]]
) -> Iterable[str]:
    if word.startswith("-"):
        return (flag for action in parser._actions for flag in action.option_strings if flag.startswith("--"))
    places = [action for action in parser._actions if not action.option_strings]
    # The values of flags count as places too: which is which, only parsing could tell.
    place = places[min(len([one for one in words if not one.startswith("-")]), len(places) - 1)] if places else None
    if place is None:
        return ()
    return models() if place.dest in MODEL_ARGUMENTS else place.choices or ()


def _models() -> Iterable[str]:
    """The names there are: this machine's from its disk, without starting a daemon; another one's by asking there."""
    try:
        config = load_config()
        names = _asked(config) if config.host else _on_disk(config)
    except OprelError:  # no place to say so
        return ()
    return sorted(name.removesuffix(":latest") for name in names)


def _on_disk(config: Config) -> Iterable[str]:
    from oprel.core.manifests import Manifests

    return (manifest.name for manifest in Manifests(config.models_dir))


def _asked(config: Config) -> Iterable[str]:
    from oprel.client_api import Client

    with Client(config=config) as client:
        return [model.name for model in client.list().models]
