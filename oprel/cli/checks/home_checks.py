"""What `oprel doctor` finds damaged in a home: files of state, and models. They are read, not changed."""

import os
from collections.abc import Iterator
from typing import NamedTuple

from oprel.core.config import Config
from oprel.core.exceptions import InvalidModelError
from oprel.core.models.manifests import Manifest, Manifests
from oprel.core.state.crash_files import CrashFiles
from oprel.core.state.damage import in_the_way, set_aside_before, state_faults
from oprel.formats.checks.validation import require_sound
from oprel.utils import database

NEXT_DAEMON = "The next daemon sets it aside and begins a new one: `oprel restart`."


class HomeFault(NamedTuple):
    """Something in the home that cannot be used. `subject` is one word."""

    subject: str
    text: str
    advice: str


def home_faults(config: Config) -> Iterator[HomeFault]:
    """Blocks to read the headers of the home's own models."""
    for damage in (*in_the_way(config), *state_faults(config)):
        yield HomeFault("home", f"{damage.path} cannot be used: {damage.why}", NEXT_DAEMON)
    yield from _of_database(config)
    yield from _of_crashes(config)
    yield from _of_models(config)
    for path in set_aside_before(config):
        yield HomeFault(
            "set aside", f"{path} could not be used when a daemon started", "Delete it if you do not need it."
        )


def _of_database(config: Config) -> Iterator[HomeFault]:
    file = config.home_dir / "state.db"
    if why := database.fault(file, ()):
        yield HomeFault("state.db", f"conversations and downloads cannot be read: {why}", NEXT_DAEMON)
    elif file.exists() and not os.access(file, os.R_OK | os.W_OK):
        yield HomeFault("state.db", f"{file} cannot be written, so conversations are lost", f"chmod 600 {file}")


def _of_crashes(config: Config) -> Iterator[HomeFault]:
    files = CrashFiles(config.crashes_dir)
    if damaged := files.damaged():
        text = f"{len(damaged)} of the reports cannot be read, such as {damaged[0]}"
        yield HomeFault("crashes", text, "Delete them: they only say why an engine ended.")


def _of_models(config: Config) -> Iterator[HomeFault]:
    manifests = Manifests.of(config)
    for file in filter(os.path.lexists, manifests.uses().unreadable):  # a new home has no folder of models yet
        yield HomeFault(
            "models", f"{file} cannot be read", "If no later version wrote it, delete it, and add the model again."
        )
    for manifest in manifests:
        if why := _fault_of(manifest):
            yield HomeFault(
                "models", f"{manifest.name}: {why}", f"Fetch or import it again, or `oprel rm {manifest.name}`."
            )


def _fault_of(manifest: Manifest) -> str:
    absent = next((path for path in manifest.files if not path.exists()), None)
    if absent:
        return f"its file {absent} does not exist"
    try:
        require_sound(manifest.weights)
    except InvalidModelError as error:
        return error.message
    return ""
