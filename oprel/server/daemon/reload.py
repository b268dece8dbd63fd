"""What a running daemon does when it is asked to read its settings again."""

import logging
from collections.abc import Callable

from oprel.core.config import config_of
from oprel.core.configuration.differences import shown
from oprel.core.configuration.given import Given
from oprel.core.configuration.published import DaemonStart, without_secrets
from oprel.core.exceptions import ConfigError

logger = logging.getLogger(__name__)

# Everything else was planned with: engines, sockets and queues would have to be made anew.
APPLIED = ("log_level",)


def reload(start: DaemonStart, read: Callable[[], Given]) -> None:
    """Apply what may change while the daemon runs, and log what takes effect only at a restart."""
    try:
        old, new = start.config, config_of(read())
    except ConfigError as error:
        logger.error("the settings stay as they are: %s", error)
        return
    logging.getLogger().setLevel(new.log_level.upper())
    waiting = [name for name in new.names() if name not in APPLIED and getattr(new, name) != getattr(old, name)]
    for name in waiting:
        value = shown(name, without_secrets(name, getattr(new, name)))
        logger.warning("%s %s takes effect when the daemon restarts: `oprel restart`", name, value)
    logger.info("read the settings again%s", "" if waiting else ": nothing waits for a restart")
