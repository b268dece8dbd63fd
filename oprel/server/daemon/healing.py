"""Begins anew what an earlier daemon, or another version, left unusable in the home. The models are not touched."""

import logging
from collections.abc import Callable, Mapping

from oprel.core.config import Config
from oprel.core.state.damage import heal, sweep_home
from oprel.runtime.binaries import choices
from oprel.server.history import oom_history
from oprel.server.models import fetched, last_use
from oprel.server.preloading import ENTRIES
from oprel.telemetry.hardware import bandwidth

logger = logging.getLogger(__name__)

PARSERS: Mapping[str, Callable[[bytes], object]] = {
    "last-used.json": last_use.parsed,
    "fetched.json": fetched.parsed,
    "loaded.json": ENTRIES.validate_json,
    "memory.json": oom_history.parsed,
    "engines.json": choices.parsed,
    "bandwidth.json": bandwidth.parsed,
}


def heal_home(config: Config) -> None:
    """Set aside the state files that cannot be used, and delete stray temporary files."""
    for path in sweep_home(config):
        logger.info("deleted %s, which a killed process left", path)
    for name, parse in PARSERS.items():
        try:
            heal(config.home_dir / name, parse)
        except OSError as error:
            logger.error("%s can neither be used nor renamed: %s", config.home_dir / name, error)
