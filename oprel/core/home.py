"""Creates and checks the folders of OPREL_HOME, which belong to one user, also to one without a home folder."""

import os
from pathlib import Path

from oprel.core.config import Config
from oprel.core.configuration.environment import use_for_temporary_files
from oprel.core.exceptions import ConfigError
from oprel.core.state.damage import clear_the_way
from oprel.utils.files import check_private, make_private, temporary_file
from oprel.utils.process import systems

LOCK = "daemon.lock"


def prepare_home(config: Config) -> None:
    """Create the folders of `config`'s home. Raises ConfigError if they cannot be written."""
    ensure_temporary_folder(config)
    try:
        config.home_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if config.home_dir.stat().st_uid == systems.user_id():
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


def ensure_temporary_folder(config: Config) -> None:
    """Where the system has no folder for temporary files, as with a read-only root, let them be made in the home.

    This holds for programs started from now on, too. Raises ConfigError if there is no place for them at all.
    """
    import tempfile  # imported late: most commands make no such file

    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        folder = config.home_dir / "tmp"
        try:
            make_private(folder)
        except OSError as error:
            raise ConfigError(
                f"there is no folder for temporary files, and {folder} cannot be one: {error.strerror}",
                "Set TMPDIR to a folder that can be written, or OPREL_HOME to a folder on such a disk.",
            ) from error
        tempfile.tempdir = str(folder)
        use_for_temporary_files(tempfile.tempdir)


def short_run_dir(near: Path) -> Path:
    """The run folder of a home whose own, `near`, has too long a path; that one where nothing else can be written."""
    import hashlib
    import tempfile

    digest = hashlib.sha256(os.fsencode(near)).hexdigest()[:12]
    try:
        return Path(tempfile.gettempdir()) / f"oprel-{systems.user_id()}-{digest}"
    except FileNotFoundError:
        return near


def own_pipe(config: Config) -> str:
    """The name of the pipe that stands for the home's socket where there are no Unix sockets."""
    import hashlib

    return f"oprel-{hashlib.sha256(os.fsencode(config.home_dir)).hexdigest()[:16]}"


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
    if systems.user_id() in (owner, 0):
        return ""
    import shlex  # imported late: this is a rare case

    command = f"sudo chown -R {systems.user_name(systems.user_id())} {shlex.quote(str(whole or path))}"
    return f"{path} belongs to {systems.user_name(owner)}, as after `sudo oprel`: `{command}`"


def _within(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def home_instead_of(home: str, *, oprel_home: str) -> str:
    """A folder for a user whose home is `home`, which does not exist: that one if it can be made, else a temporary one.

    A user ID without an entry in the passwd file, as in containers, has "~" or "/". The first time a warning says where
    models are kept, unless `oprel_home` does. Without temporary files that is the only folder. Raises ConfigError.
    """
    if os.path.isabs(home) and home != "/" and os.access(os.path.dirname(home), os.W_OK):
        return home
    import tempfile  # imported late: only such users need it

    try:
        folder = Path(tempfile.gettempdir()) / f"oprel-home-{systems.user_id()}"
    except FileNotFoundError:
        if oprel_home:
            return os.path.abspath(oprel_home)
        step = "Set HOME or OPREL_HOME to a folder that can be written."
        raise ConfigError("this user has no home folder, and there is none for temporary files", step) from None
    is_new = not folder.exists()
    try:
        make_private(folder)
    except OSError as error:
        raise ConfigError(
            f"this user has no home folder, and {folder} cannot be one: {error.strerror}",
            "Set HOME to your own folder.",
        ) from error
    if is_new and not oprel_home:
        import logging

        logging.getLogger(__name__).warning(
            "this user has no home folder: models are kept in %s; set OPREL_HOME to keep them elsewhere", folder
        )
    return str(folder)
