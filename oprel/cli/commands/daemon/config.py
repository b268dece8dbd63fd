"""`oprel config show|path|edit|validate`: what is set and where, and the configuration file."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from oprel.cli.options import add_address, given_from
from oprel.cli.screen import render
from oprel.cli.screen.settings_notes import remedy, running_daemon, variable_notes
from oprel.cli.screen.table import Column, shorter_path
from oprel.core.config import SETTINGS, Config, config_file, config_of, usual_config_file
from oprel.core.configuration.differences import NOT_COMPARED, is_in_effect
from oprel.core.configuration.environment import preferred_editor
from oprel.core.configuration.published import PublishedSettings, effective
from oprel.core.exceptions import ConfigError, OprelError, ValidationError

if TYPE_CHECKING:
    from oprel.core.configuration.given import Given

COLUMNS = ("SETTING", "VALUE", Column("FROM", shorter=shorter_path))
ACTIONS = ("show", "path", "edit", "validate")


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("config", help="show, check or edit the settings")
    text = (
        "show: the settings in effect and where each is set (the default); path: the configuration file; "
        "edit: open it in $VISUAL or $EDITOR; validate: report everything that is wrong in it"
    )
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="show", help=text)
    parser.add_argument("--changed", action="store_true", help="with show: only what is set somewhere")
    parser.add_argument("--json", action="store_true", help="with show: print JSON")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    """Exit status 2 if `validate` finds something wrong."""
    match args.action:
        case "path":
            _path(args.config)
        case "edit":
            _edit(args.config)
        case "validate":
            return _validate(args.config)
        case _:
            _show(given_from(args), changed=args.changed, as_json=args.json)
    return 0


def _show(given: "Given", *, changed: bool, as_json: bool) -> None:
    config = config_of(given)
    daemon = None if as_json else running_daemon(config)
    others = other_values(config, daemon) if daemon else {}
    shown = {*given, *others} if changed else {*SETTINGS}
    settings = {name: entry for name, entry in effective(config, given).items() if name in shown}
    if as_json:
        from oprel.wire.daemon import SettingEntry, SettingsResponse

        entries = [
            SettingEntry(name=name, value=entry.value, default=SETTINGS[name].default, origin=entry.origin or None)
            for name, entry in settings.items()
        ]
        render.json(SettingsResponse(settings=entries))
        return
    rows = [(name, f"{entry.value}", entry.origin or "default") for name, entry in settings.items()]
    if daemon and others:
        columns = (*COLUMNS[:2], "RUNNING DAEMON", COLUMNS[2])
        render.table(columns, [(name, value, others.get(name, value), origin) for name, value, origin in rows])
        for note in restart_notes(daemon, given, others):
            render.note(note)
    else:
        render.table(COLUMNS, rows)
    for note in variable_notes():
        render.note(note)


def other_values(config: Config, daemon: PublishedSettings) -> dict[str, str]:
    """What the daemon has other values of, without the settings that say which daemon is meant."""
    return {
        name: f"{entry.value}"
        for name, entry in daemon.settings.items()
        if name in SETTINGS and name not in NOT_COMPARED and not is_in_effect(name, getattr(config, name), daemon)
    }


def restart_notes(daemon: PublishedSettings, given: "Given", others: Iterable[str]) -> Iterator[str]:
    """What a restart changes of the daemon's other values, and what it keeps."""
    kept = [name for name in others if daemon.settings[name].origin.startswith("--") and name not in given]
    if changing := [name for name in others if name not in kept]:
        yield f"To put what is set here into effect: {remedy(daemon, given, changing)}"
    if kept:
        yield f"`oprel serve` was started with flags for {', '.join(kept)}: a restart keeps them."


def _path(file: Path | None) -> None:
    path = file or config_file() or usual_config_file()
    render.line(f"{path}")
    if not path.exists():
        render.note("(there is no such file yet; `oprel config edit` creates it)")


def _validate(file: Path | None) -> int:
    path = file or config_file()
    problems = list(_problems(path))
    for problem in problems:
        render.error(problem)
    for note in variable_notes():
        render.note(note)
    if not problems:
        render.line(f"{path} is valid" if path else f"there is no configuration file {usual_config_file()}")
    return ConfigError.exit_code if problems else 0


def _problems(path: Path | None) -> Iterator[ConfigError]:
    """Everything that is wrong in the file, and the first variable whose value is."""
    from oprel.core.config import environment_settings
    from oprel.core.configuration.given import examined_file

    if path:
        yield from examined_file(path)[1]
    try:
        environment_settings()
    except ConfigError as error:
        yield error


def _edit(file: Path | None) -> None:
    """Edit a copy, which takes the file's place once it is valid."""
    from oprel.core.configuration.template import template
    from oprel.utils.files import write_atomically

    path = Path(file or config_file() or usual_config_file()).resolve()  # a link stays one
    path.parent.mkdir(parents=True, exist_ok=True)
    old = path.read_bytes() if path.exists() else b""
    copy = path.with_name(f".{path.stem}.edited{path.suffix}")
    try:
        write_atomically(copy, old or template().encode())
        while problems := _edited(copy, path):
            for problem in problems:
                render.note(f"Error: {problem}")
            if not render.confirms("Edit it again?"):
                raise ValidationError("the file is not valid", f"Nothing was changed in {path}.")
        new = copy.read_bytes()
        if new == (old or template().encode()):
            render.line("nothing was changed")
            return
        write_atomically(path, new)
    finally:
        copy.unlink(missing_ok=True)
    render.line(f"wrote {path}: `oprel restart` puts it into effect")


def _editor() -> list[str]:
    """The command of the user's editor, else of the first of some that is installed."""
    import shlex
    import shutil

    chosen = shlex.split(preferred_editor())
    return chosen or [next(filter(shutil.which, ("sensible-editor", "nano", "vim", "vi")), "vi")]


def _edited(copy: Path, path: Path) -> list[str]:
    """Open the editor; what is wrong in the file then, by the name that it will have."""
    import subprocess

    from oprel.core.configuration.given import examined_file

    command = [*_editor(), str(copy)]
    try:
        status = subprocess.run(command, check=False).returncode
    except OSError as error:
        raise OprelError(f"cannot start the editor {command[0]}: {error.strerror}", "Set EDITOR.") from error
    if status:
        raise OprelError(f"the editor {command[0]} ended with status {status}", "Nothing was changed.")
    errors = examined_file(copy)[1]
    lines = ["\n  ".join([error.message, *error.resolution_steps]) for error in errors]
    return [line.replace(str(copy), str(path)) for line in lines]
