"""Creates and checks the folders of OPREL_HOME, which belong to one user, also to one without a home folder."""

import os
from pathlib import Path

from oprel.core.config import Config
from oprel.core.exceptions import ConfigError
from oprel.core.state.damage import clear_the_way
from oprel.utils.files import check_private, make_private, temporary_file

LOCK = "daemon.lock"


def prepare_home(config: Config) -> None:
    """Create the folders of `config`'s home. Raises ConfigError if they cannot be written."""
    try:
        config.home_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if config.home_dir.stat().st_uid == os.getuid():
            config.home_dir.chmod(0o700)  # conversations are private, and no other user adds a model
        clear_the_way(config)
        config.models_dir.mkdir(exist_ok=True)
        config.logs_dir.mkdir(exist_ok=True)
        if not os.access(config.logs_dir, os.W_OK | os.X_OK):
            config.logs_dir.chmod(0o700)
        make_private(config.run_dir)
        with temporary_file(config.home_dir, "writable"):
            pass
    except OSError as error:
        raise ConfigError(
            f"cannot write to {config.home_dir}: {error.strerror}",
            *filter(None, [foreign_advice(config)]),
            "Make the folder writable, or choose another with --home or OPREL_HOME.",
        ) from error


def lock_files(config: Config) -> tuple[Path, Path]:
    """The files that the daemon has locks on as long as it runs; they contain its process ID."""
    return config.home_dir / LOCK, config.run_dir / LOCK


def check_home(config: Config) -> None:
    """Raises ConfigError if another user owns the run folder, and so may have put a socket into it."""
    try:
        check_private(config.run_dir)
    except OSError as error:
        steps = [*filter(None, [foreign_advice(config)]), "Choose another --home."]
        raise ConfigError(f"cannot use {config.run_dir}: {error.strerror}", *steps) from error


def foreign_advice(config: Config) -> str:
    """What to do about files of another user among those that oprel needs first; "" if there are none."""
    folders = (config.home_dir, config.run_dir, config.logs_dir, config.models_dir)
    paths = (path for folder in folders for path in (folder, *_within(folder)))
    return next(filter(None, (owner_advice(path, config.home_dir) for path in paths)), "")


def owner_advice(path: Path, whole: Path | None = None) -> str:
    """What to do about a path of another user, as after one `sudo oprel`; "" for others.

    `whole`: the folder to change with all that is in it, by default the path.
    """
    try:
        owner = path.lstat().st_uid
    except OSError:
        return ""
    if os.getuid() in (owner, 0):
        return ""
    import shlex  # imported late: this is a rare case

    command = f"sudo chown -R {_user(os.getuid())} {shlex.quote(str(whole or path))}"
    return f"{path} belongs to {_user(owner)}, as after `sudo oprel`: `{command}`"


def _within(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _user(number: int) -> str:
    """The name of a user, or the number of one without a name."""
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def home_instead_of(home: str, *, keeps_models: bool) -> str:
    """A folder for a user whose home is `home`, which does not exist: that one if it can be made, else a temporary one.

    A user ID without an entry in the passwd file, as in containers, has "~" or "/". The first time a warning says where
    models are kept, if `keeps_models`. Raises ConfigError.
    """
    if os.path.isabs(home) and home != "/" and os.access(os.path.dirname(home), os.W_OK):
        return home
    import tempfile  # imported late: only such users need it

    folder = Path(tempfile.gettempdir()) / f"oprel-home-{os.getuid()}"
    is_new = not folder.exists()
    try:
        make_private(folder)
    except OSError as error:
        raise ConfigError(
            f"this user has no home folder, and {folder} cannot be one: {error.strerror}",
            "Set HOME to your own folder.",
        ) from error
    if is_new and keeps_models:
        import logging

        logging.getLogger(__name__).warning(
            "this user has no home folder: models are kept in %s; set OPREL_HOME to keep them elsewhere", folder
        )
    return str(folder)
