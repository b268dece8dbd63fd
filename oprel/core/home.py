"""Creates and checks the folders of OPREL_HOME, which belong to one user, also to one without a home folder."""

import os
from pathlib import Path

from oprel.core.config import Config, use_for_temporary_files
from oprel.core.exceptions import ConfigError
from oprel.utils.files import check_private, make_private


def prepare_home(config: Config) -> None:
    """Create the folders of `config`'s home. Raises ConfigError if they cannot be written."""
    ensure_temporary_folder(config)
    try:
        config.home_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if config.home_dir.stat().st_uid == os.getuid():
            config.home_dir.chmod(0o700)  # conversations are private, and no other user adds a model
        for folder in (config.models_dir, config.logs_dir):
            folder.mkdir(exist_ok=True)
        make_private(config.run_dir)
        probe = config.home_dir / ".writable"
        probe.touch()
        probe.unlink(missing_ok=True)  # another process may be probing too
    except OSError as error:
        raise ConfigError(
            f"cannot write to {config.home_dir}: {error.strerror}",
            "Make the folder writable, or choose another with --home or OPREL_HOME.",
        ) from error


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
        return Path(tempfile.gettempdir()) / f"oprel-{os.getuid()}-{digest}"
    except FileNotFoundError:
        return near


def check_home(config: Config) -> None:
    """Raises ConfigError if another user owns the run folder, and so may have put a socket into it."""
    try:
        check_private(config.run_dir)
    except OSError as error:
        raise ConfigError(f"cannot use {config.run_dir}: {error.strerror}", "Choose another --home.") from error


def home_instead_of(home: str, *, oprel_home: str) -> str:
    """A folder for a user whose home is `home`, which does not exist: that one if it can be made, else a temporary one.

    A user ID without an entry in the passwd file, as in containers, has "~" or "/". The first time a warning says where
    models are kept, unless `oprel_home` does. Without temporary files that is the only folder. Raises ConfigError.
    """
    if os.path.isabs(home) and home != "/" and os.access(os.path.dirname(home), os.W_OK):
        return home
    import tempfile  # imported late: only such users need it

    try:
        folder = Path(tempfile.gettempdir()) / f"oprel-home-{os.getuid()}"
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
