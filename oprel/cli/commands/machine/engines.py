"""`oprel engines list|install|update|rollback|test|use|uninstall`: manages the inference engines."""

import argparse
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from oprel.cli.options import add_address, add_columns, add_settings, columns_from, config_from
from oprel.cli.screen import render
from oprel.cli.screen.table import Column, ColumnChoice, shorter_path
from oprel.core.config import Config
from oprel.core.configuration.environment import child_environment
from oprel.core.exceptions import NoEngineError, ValidationError
from oprel.utils.text import human_size

if TYPE_CHECKING:
    from oprel.runtime.backends.backend import Backend
    from oprel.runtime.binaries.environments import Recipe
    from oprel.runtime.selection.engines import EnginePrograms

ACTIONS = ("list", "install", "update", "rollback", "test", "use", "uninstall")
NAMELESS = ("list", "test", "update", "rollback")
LLAMA_CPP = "llama.cpp"
MANAGED = ("install", "update", "rollback", "uninstall")  # of llama.cpp, whose builds oprel lists itself
PINNED = "To upgrade another engine, uninstall and install it."
APIS = {"cuda": "CUDA", "rocm": "ROCm", "vulkan": "Vulkan", "metal": "Metal", "cpu": "CPUs"}
COLUMNS = ("ENGINE", Column("FORMATS", 2), Column("RUNS ON", 1), Column("PROGRAM", shorter=shorter_path))
AUTO = "auto"
PROBE_SECONDS = 60.0  # some engines import for half a minute before they print their version


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("engines", help="list the inference engines; install, update, test or prefer one")
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="list", help="what to do (default: list)")
    parser.add_argument(
        "name",
        nargs="?",
        help=f"an engine's name; `use {AUTO}` removes the preference, `test` without a name tests all",
    )
    parser.add_argument(
        "program", nargs="?", type=Path, help="with `use`: the path of its executable, if it is not on PATH"
    )
    parser.add_argument("--yes", action="store_true", help="with install: do not ask for confirmation")
    apis = parser.add_mutually_exclusive_group()
    for api, title in APIS.items():
        text = f"with install {LLAMA_CPP}: a build for {title} (default: the best for this machine)"
        apis.add_argument(f"--{api}", dest="api", action="store_const", const=api, help=text)
    parser.add_argument("--build", action="store_true", help=f"with install {LLAMA_CPP}: build it here")
    parser.add_argument("--chaos", action="store_true", help=f"with install {LLAMA_CPP}: test it with faults too")
    add_columns(parser, COLUMNS)
    add_address(parser)
    add_settings(parser, ("engine_sources", "engine_mirror"))
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    config = config_from(args)
    if args.action not in NAMELESS and not args.name:
        raise ValidationError(f"`oprel engines {args.action}` needs an engine's name", "`oprel engines` lists them.")
    if (args.api or args.build or args.chaos) and (args.action, args.name) != ("install", LLAMA_CPP):
        raise ValidationError(f"--cuda and the like, --build and --chaos are for `oprel engines install {LLAMA_CPP}`")
    if args.action in MANAGED and args.name in (LLAMA_CPP, None):
        _manage_llama_cpp(args, config)
    else:
        _manage(args, config)
    return 0


def _manage(args: argparse.Namespace, config: Config) -> None:
    match args.action:
        case "list":
            _list(config, columns_from(args))
        case "install":
            _install(config, args.name, sure=args.yes)
        case "test":
            _test(config, args.name)
        case "use":
            _use(config, args.name, args.program)
        case "uninstall":
            _uninstall(config, args.name)
        case action:
            raise ValidationError(f"`oprel engines {action}` is for {LLAMA_CPP} only", PINNED)


def _manage_llama_cpp(args: argparse.Namespace, config: Config) -> None:
    from oprel.cli import engine_installation as installation

    match args.action:
        case "install":
            request = installation.InstallRequest(api=args.api, build=args.build, chaos=args.chaos, sure=args.yes)
            installation.install(config, request)
        case "update":
            installation.update(config)
        case "rollback":
            installation.roll_back(config)
        case "uninstall":
            installation.uninstall(config)


def _list(config: Config, choice: ColumnChoice) -> None:
    from oprel.runtime.binaries.choices import read_choices
    from oprel.runtime.binaries.engine_binaries import probed
    from oprel.runtime.selection.engines import accelerators_of, find_engines, unused_gpu
    from oprel.telemetry.hardware.probing import this_machine

    preferred, hardware = read_choices(config.home_dir).preferred, this_machine(config.hardware)
    devices = accelerators_of(hardware)
    engines = find_engines(config)
    missing = [
        engine.backend for engine in engines if not engine.programs and not devices.isdisjoint(engine.backend.suits)
    ]
    rows = [_row(engine, engine.backend.name == preferred, engine.backend in missing) for engine in engines]
    render.table(COLUMNS, rows, choice)
    if hardware.gpus and not probed(config).uses_gpus:
        render.note(unused_gpu(hardware.gpus))
    for backend in missing:
        render.note(f"To install {backend.name}: {backend.install}")


def _row(engine: "EnginePrograms", preferred: bool, missing: bool) -> tuple[str, str, str, str]:
    backend = engine.backend
    absent = "not installed" if missing else "not for this machine"
    program = str(engine.programs[0]) if engine.programs else absent
    remarks = [word for word, holds in (("preferred", preferred), ("experimental", backend.experimental)) if holds]
    name = f"{backend.name} ({', '.join(remarks)})" if remarks else backend.name
    return name, ", ".join(sorted(backend.formats)), ", ".join(backend.suits), program


def _install(config: Config, name: str, *, sure: bool) -> None:
    """Raises NoEngineError when it cannot run here or does not start, and what `environments.install` raises."""
    from oprel.runtime.backends.registry import named
    from oprel.runtime.binaries import environments
    from oprel.runtime.selection.engines import find_engine, recipe_for
    from oprel.telemetry.hardware.probing import this_machine

    engine = find_engine(named(name), config)
    if engine.programs:
        render.line(f"{engine.backend.title} is already installed: {engine.programs[0]}")
        return
    recipe = recipe_for(engine.backend, this_machine(config.hardware))
    folder = config.engines_dir / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    for sentence in _intent(engine.backend, recipe, folder):
        render.note(sentence)
    if not sure and not render.confirms("Continue?"):
        return
    environments.install(recipe, folder, shown=render.has_watcher())
    _test(config, name)
    render.note("It is now used for the models that it serves best; a running daemon needs no restart.")


def _intent(backend: "Backend", recipe: "Recipe", folder: Path) -> tuple[str, str]:
    free = shutil.disk_usage(folder.parent).free
    return (
        f"pip will install {backend.title} into a separate environment, {folder}: {' '.join(recipe.requirements)}",
        f"It needs about {human_size(recipe.size_bytes)} of disk space; {human_size(free)} are free.",
    )


def _uninstall(config: Config, name: str) -> None:
    """Raises ValidationError when oprel did not install it."""
    from oprel.runtime.backends.registry import named
    from oprel.runtime.binaries import environments

    environments.uninstall(config.engines_dir / named(name).name)
    render.line(f"removed {name}")


def _test(config: Config, name: str | None) -> None:
    """Test one engine, or all installed ones. Raises NoEngineError when one does not start or is not installed."""
    from oprel.runtime.backends.registry import named
    from oprel.runtime.selection.engines import find_engine, find_engines

    engines = [find_engine(named(name), config)] if name else find_engines(config)
    if name and not engines[0].programs:
        backend = engines[0].backend
        raise NoEngineError(f"{backend.title} is not installed", f"To install it: {backend.install}")
    for program in (program for engine in engines for program in engine.programs):
        render.line(f"{program} starts: {_started(program.command)}")


def _started(command: tuple[str, ...]) -> str:
    """The last line of its `--version` output, or a note that `--help` works. Raises NoEngineError."""
    for flag in ("--version", "--help"):
        try:
            done = subprocess.run(
                [*command, flag], capture_output=True, timeout=PROBE_SECONDS, env=child_environment(), check=False
            )
        except OSError as error:
            raise NoEngineError(f"cannot start {command[0]}: {error.strerror}") from error
        except subprocess.TimeoutExpired:
            raise NoEngineError(f"{command[0]} {flag} did not end within {PROBE_SECONDS:.0f} s") from None
        lines = (done.stdout or done.stderr).decode(errors="replace").strip().splitlines()
        if done.returncode == 0:
            return lines[-1] if flag == "--version" and lines else "it prints its usage"
    why = lines[-1] if lines else "no output"
    raise NoEngineError(f"{command[0]} does not run (status {done.returncode}): {why}", "Reinstall it.")


def _use(config: Config, name: str, program: Path | None) -> None:
    from oprel.runtime.backends.registry import named
    from oprel.runtime.binaries.choices import read_choices
    from oprel.runtime.selection.engines import find_engine

    if program and not program.expanduser().is_file():
        raise ValidationError(f"{program} is not a file", "Give the path of the engine's executable.")
    chosen = "" if name == AUTO else named(name).name
    path = program.expanduser().absolute() if program and chosen else None
    read_choices(config.home_dir).using(chosen, path).write(config.home_dir)
    what = f"{chosen} is preferred for every model it can serve" if chosen else "each model uses its best engine"
    render.line(f"{what}; a running daemon applies this to the next model it loads.")
    if chosen and not find_engine(named(chosen), config).programs:
        render.note(f"It is not installed; other engines are used until it is. To install it: {named(chosen).install}")
