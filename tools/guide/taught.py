"""Whether guide was taught all that oprel has. What it was not stands in a list here, with the reason."""

import argparse

import facts
import settings_wordings
import usage

from oprel.core.request_options import OPTIONS

RARE = "rarely asked: guide answers `oprel COMMAND --help`"
EVERYWHERE = "of every command; for the daemon it is a setting, which is taught"
FOR_PROGRAMS = "asked by programmers, who read docs/clients.md"

COMMANDS = {
    "__complete": "for shells, not for people",
    **dict.fromkeys(
        ("keys", "keys add", "keys rm", "keys rotate", "keys use"), "came while guide was trained; to be taught next"
    ),
    "help": "guide says `oprel --help` and `oprel COMMAND --help`, which print the same",
    "version": "guide says `oprel --version`, which prints the same",
}
TAUGHT_OPTIONS = ("temperature", "num_ctx")
# By a flag alone: of whatever command does not teach it.
OPTION = "an option of requests: guide says `--option NAME=VALUE`, which takes each of them"
FLAGS = {
    **dict.fromkeys((f"--{name.replace('_', '-')}" for name in OPTIONS if name not in TAUGHT_OPTIONS), OPTION),
    **dict.fromkeys(("--no-ignore-eos", "--no-runaway-guard", "--no-use-mmap"), OPTION),
    **dict.fromkeys(("--wide", "--columns"), "said of list and ps; every table has them"),
    **dict.fromkeys(("--cuda", "--rocm", "--vulkan", "--metal", "--cpu", "--build", "--engine-sources",
                     "--engine-mirror"), "`oprel engines install llama.cpp` chooses by itself; to be taught next"),
    **dict.fromkeys(("--service", "--user", "--drop-in", "--print", "--kind", "--changed", "--follow", "--system",
                     "--on-demand", "--scope", "--model", "--requests", "--tokens", "--expires", "--security"),
                    "came while guide was trained; to be taught next"),
    **dict.fromkeys(("--config", "--home", "--host"), EVERYWHERE),
    "--chaos": "said together with `oprel selftest`",
    **dict.fromkeys(("--json",), "taught for list, ps and show; the others have it too"),
    **dict.fromkeys(
        ("--hidethinking", "--nowordwrap", "--truncate", "--dimensions", "--insecure", "--limit", "--capability",
         "--copy", "--in-place", "--all", "--yes", "--now", "--hardware", "--quant", "--num-ctx", "--ctx", "--parallel",
         "--kv-unified", "--no-kv-unified", "--kv-cache-type", "--flash-attention", "--ubatch", "--swa-full",
         "--prefer", "--gpu-layers", "--verbose", "--file", "--keep-alive"),
        RARE,
    ),
}  # fmt: skip
LIKE = {"run": "chat", "list": "ps"}  # takes the flags of the other, and whoever asks for one learns both
ROUTES = {
    "/api/": FOR_PROGRAMS,
    "/v1/": "guide gives the base URL, http://127.0.0.1:11435/v1, for all of them",
    **dict.fromkeys(
        (
            "/",
            "/crashes",
            "/logs",
            "/quarantine",
            "/health",
            "/settings",
            "/models",
            "/load",
            "/unload",
            "/generate",
            "/openapi.json",
        ),
        "the commands ask them; people ask the commands",
    ),
}


def gaps(parser: argparse.ArgumentParser) -> list[str]:
    """What oprel has and guide neither was taught nor has a reason not to be."""
    return [
        *(f"the command {one}" for one in facts.commands(parser) if one not in COMMANDS and one not in _commands()),
        *(
            f"{one.name} of {one.command}"
            for one in facts.flags(parser)
            if one.name not in FLAGS and one not in _flags()
        ),
        *(f"the setting {one}" for one in settings_wordings.untaught(facts.settings())),
        *(f"the route {one}" for one in facts.routes() if not _is_answered(one)),
    ]


def needless(parser: argparse.ArgumentParser) -> list[str]:
    """Entries of the lists for what oprel does not have, or for what guide is taught of every command."""
    untaught = {one.name for one in facts.flags(parser) if one not in _flags()}
    return [*(set(COMMANDS) - set(facts.commands(parser))), *(set(FLAGS) - untaught)]


def _commands() -> set[str]:
    spoken = [[word for word in one if not word.startswith("-")] for one in usage.taught()]
    return {" ".join(one[:length]) for one in spoken for length in (1, 2)}


def _flags() -> set[facts.Flag]:
    said = [(one[0], word.partition("=")[0]) for one in usage.taught() for word in one if word.startswith("--")]
    return {facts.Flag(LIKE.get(command, command), flag) for command, flag in said} | {facts.Flag(*one) for one in said}


def _is_answered(route: str) -> bool:
    return any(route in one.answer for one in usage.INTENTS) or any(
        route == one or (one.endswith("/") and len(one) > 1 and route.startswith(one)) or route.startswith(f"{one}/")
        for one in ROUTES
    )
