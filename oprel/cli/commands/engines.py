"""`oprel engines list|install|test|use|uninstall`: the inference engines that there are, and which of them are here."""

import argparse
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from oprel.cli.options import add_address, config_from
from oprel.cli.screen import render
from oprel.core.config import Config, child_environment
from oprel.core.exceptions import NoEngineError, ValidationError
from oprel.utils.text import human_size

if TYPE_CHECKING:
    from oprel.runtime.backends.backend import Backend
    from oprel.runtime.binaries.environments import Recipe
    from oprel.runtime.selection.engines import EnginePrograms

ACTIONS = ("list", "install", "test", "use", "uninstall")
TITLES = ("ENGINE", "FORMATS", "RUNS ON", "PROGRAM")
AUTO = "auto"
PROBE_SECONDS = 60.0  # some import half a minute before they tell their version


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("engines", help="list the inference engines; install, try or prefer one")
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="list", help="list is the default")
    parser.add_argument("name", nargs="?", help=f"an engine's name; `use {AUTO}` prefers none, `test` tries all")
    parser.add_argument("program", nargs="?", type=Path, help="for `use`: its program, where that is not on PATH")
    parser.add_argument("--yes", action="store_true", help="install without being asked")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    config = config_from(args)
    if args.action not in ("list", "test") and not args.name:
        raise ValidationError(f"`oprel engines {args.action}` wants an engine's name", "`oprel engines` lists them.")
    match args.action:
        case "list":
            _list(config)
        case "install":
            _install(config, args.name, sure=args.yes)
        case "test":
            _test(config, args.name)
        case "use":
            _use(config, args.name, args.program)
        case "uninstall":
            _uninstall(config, args.name)
    return 0


def _list(config: Config) -> None:
    from oprel.runtime.binaries.choices import read_choices
    from oprel.runtime.selection.engines import accelerators_of, find_engines
    from oprel.telemetry.hardware.probing import probe

    preferred, here = read_choices(config.home_dir).preferred, accelerators_of(probe())
    engines = find_engines(config)
    lacking = [found.backend for found in engines if not found.programs and not here.isdisjoint(found.backend.suits)]
    render.table(TITLES, [_row(found, found.backend.name == preferred, found.backend in lacking) for found in engines])
    for backend in lacking:
        render.note(f"To get {backend.name}: {backend.install}")


def _row(found: "EnginePrograms", preferred: bool, lacking: bool) -> tuple[str, str, str, str]:
    backend = found.backend
    absent = "not installed" if lacking else "not for this machine"
    program = str(found.programs[0]) if found.programs else absent
    remarks = [word for word, holds in (("preferred", preferred), ("experimental", backend.experimental)) if holds]
    name = f"{backend.name} ({', '.join(remarks)})" if remarks else backend.name
    return name, ", ".join(sorted(backend.formats)), ", ".join(backend.suits), program


def _install(config: Config, name: str, *, sure: bool) -> None:
    """Raises NoEngineError where it cannot run here or does not start, and what `environments.install` raises."""
    from oprel.runtime.backends.registry import named
    from oprel.runtime.binaries import environments
    from oprel.runtime.selection.engines import find_engine, recipe_for
    from oprel.telemetry.hardware.probing import probe

    found = find_engine(named(name), config)
    if found.programs:
        render.line(f"{found.backend.title} is here already: {found.programs[0]}")
        return
    recipe = recipe_for(found.backend, probe())
    folder = config.engines_dir / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    for told in _intent(found.backend, recipe, folder):
        render.note(told)
    if not sure and not render.agrees("Go on?"):
        return
    environments.install(recipe, folder, shown=render.has_watcher())
    _test(config, name)
    render.note("It is used from now on for the models that it serves best; a daemon that runs need not be restarted.")


def _intent(backend: "Backend", recipe: "Recipe", folder: Path) -> tuple[str, str]:
    free = shutil.disk_usage(folder.parent).free
    return (
        f"pip will install {backend.title} into {folder}, an environment of its own: {' '.join(recipe.requirements)}",
        f"It takes some {human_size(recipe.size_bytes)} of the disk, of which {human_size(free)} are free.",
    )


def _uninstall(config: Config, name: str) -> None:
    """Raises ValidationError where oprel has not installed it."""
    from oprel.runtime.backends.registry import named
    from oprel.runtime.binaries import environments

    environments.uninstall(config.engines_dir / named(name).name)
    render.line(f"{name} is removed")


def _test(config: Config, name: str | None) -> None:
    """Of one engine, or of all that are here. Raises NoEngineError where a program does not start, or there is none."""
    from oprel.runtime.backends.registry import named
    from oprel.runtime.selection.engines import find_engine, find_engines

    engines = [find_engine(named(name), config)] if name else find_engines(config)
    if name and not engines[0].programs:
        backend = engines[0].backend
        raise NoEngineError(f"{backend.title} is not installed", f"To get it: {backend.install}")
    for program in (program for found in engines for program in found.programs):
        render.line(f"{program} starts: {_started(program.command)}")


def _started(command: tuple[str, ...]) -> str:
    """The last line of what it says of its version, or of how it is used. Raises NoEngineError."""
    for flag in ("--version", "--help"):
        try:
            done = subprocess.run(
                [*command, flag], capture_output=True, timeout=PROBE_SECONDS, env=child_environment(), check=False
            )
        except OSError as error:
            raise NoEngineError(f"{command[0]} cannot be started: {error.strerror}") from error
        except subprocess.TimeoutExpired:
            raise NoEngineError(f"{command[0]} {flag} did not end within {PROBE_SECONDS:.0f} s") from None
        lines = (done.stdout or done.stderr).decode(errors="replace").strip().splitlines()
        if done.returncode == 0:
            return lines[-1] if flag == "--version" and lines else "it shows how it is used"
    why = lines[-1] if lines else "it says nothing"
    raise NoEngineError(f"{command[0]} does not run (status {done.returncode}): {why}", "Install it anew.")


def _use(config: Config, name: str, program: Path | None) -> None:
    from oprel.runtime.backends.registry import named
    from oprel.runtime.binaries.choices import read_choices
    from oprel.runtime.selection.engines import find_engine

    if program and not program.expanduser().is_file():
        raise ValidationError(f"{program} is no program", "Give the path of the engine's executable.")
    chosen = "" if name == AUTO else named(name).name
    path = program.expanduser().absolute() if program and chosen else None
    read_choices(config.home_dir).using(chosen, path).write(config.home_dir)
    what = f"{chosen} is preferred wherever it can serve a model" if chosen else "the best engine of each model is used"
    render.line(f"{what}; a daemon that runs takes notice with the next model that it loads.")
    if chosen and not find_engine(named(chosen), config).programs:
        render.note(f"It is not installed, so others are used until it is. To get it: {named(chosen).install}")
