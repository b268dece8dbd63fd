"""Notes about settings without effect: the running daemon has others, or a variable has no meaning."""

from pathlib import Path

from oprel import __version__
from oprel.core.config import Config, config_file, unknown_variables, usual_config_file
from oprel.core.configuration.given import Given
from oprel.core.configuration.published import PublishedSettings, published

RESTART = "`oprel restart`"


def variable_notes() -> list[str]:
    """One for each variable that looks like a setting of oprel."""
    return [f"{variable}" for variable in unknown_variables()]


def daemon_note(config: Config, given: Given, file: Path | None) -> str:
    """One line if this machine's running daemon has other settings or an older version; else empty.

    `file`: the configuration file that was given. There is no request: only if something differs, one connection shows
    whether the daemon is still there. Another machine's daemon is not compared.
    """
    if config.host:
        return ""
    from oprel.client.plain.daemon_state import is_listening

    daemon = published(config)
    if daemon is None:
        unpublished = f"the running daemon has another version than this command, {__version__}: {RESTART}"
        return unpublished if is_listening(config) else ""
    read = str(file or config_file() or usual_config_file())  # the usual one may have been deleted since
    if daemon.version == __version__ and _agree(daemon, given, read):
        return ""
    from oprel.core.configuration.differences import differences, sentence

    different = differences(given, read, daemon)
    line = sentence(different, daemon, __version__, remedy(daemon, given, [name for name, *_ in different]))
    return line if line and is_listening(config) else ""


def _agree(daemon: PublishedSettings, given: Given, file: str) -> bool:
    """True if each value is that of the daemon, letter by letter: then there is nothing to compare."""
    settings = daemon.settings
    as_given = all(name in settings and settings[name].value == setting.value for name, setting in given.items())
    return as_given and not any(
        entry.origin.startswith(f"{file}:") for name, entry in settings.items() if name not in given
    )


def running_daemon(config: Config) -> PublishedSettings | None:
    """What this machine's own daemon says of itself; None if it does not run."""
    from oprel.client.plain.daemon_state import daemon_pid

    daemon = None if config.host else published(config)
    return daemon if daemon and daemon.pid == daemon_pid(config) else None


def remedy(daemon: PublishedSettings, given: Given, names: list[str]) -> str:
    """What to do. A service reads its file again, but not the environment of this command."""
    file = daemon.file or str(usual_config_file())
    elsewhere = [name for name in names if name in given and given[name].origin.rpartition(":")[0] != file]
    return f"set it in {file}, then {RESTART}" if daemon.service and elsewhere else RESTART
