"""Creates and checks the folders of OPREL_HOME, which belong to one user."""

import os

from oprel.core.config import Config
from oprel.core.exceptions import ConfigError
from oprel.utils.files import check_private, make_private


def prepare_home(config: Config) -> None:
    """Create the folders of `config`'s home. Raises ConfigError if they cannot be written."""
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


def check_home(config: Config) -> None:
    """Raises ConfigError if another user owns the run folder, and so may have put a socket into it."""
    try:
        check_private(config.run_dir)
    except OSError as error:
        raise ConfigError(f"cannot use {config.run_dir}: {error.strerror}", "Choose another --home.") from error
