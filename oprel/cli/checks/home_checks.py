"""What `oprel doctor` finds damaged in a home: files of state, and models. They are read, not changed."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from oprel.core.config import Config
from oprel.core.exceptions import InvalidModelError
from oprel.core.models.manifests import Manifest, Manifests
from oprel.core.state.certificate_files import valid_until
from oprel.core.state.crash_files import CrashFiles
from oprel.core.state.damage import in_the_way, set_aside_before, state_faults
from oprel.formats.checks.validation import require_sound
from oprel.utils import database

DAYS_BEFORE_END = 14  # of a certificate, when it should have been renewed
NEXT_PAIR = "Delete it: the next daemon makes another one, with another fingerprint."
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
    yield from _of_certificate(config)
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


def _of_certificate(config: Config) -> Iterator[HomeFault]:
    """Of the HTTPS port."""
    if config.tls_certificate:
        file, advice = Path(config.tls_certificate).expanduser(), "Renew it: the daemon uses the new one at once."
    elif config.tls_self_signed == "on" and config.own_certificate.exists():
        file, advice = config.own_certificate, NEXT_PAIR
    else:
        return
    try:
        end = valid_until(file)
    except (OSError, ValueError) as error:
        yield HomeFault("certificate", f"{file} cannot be read: {error}", advice)
        return
    left = end - datetime.now(UTC)
    if left < timedelta(days=DAYS_BEFORE_END):
        expires = "expired" if left < timedelta() else "expires"
        yield HomeFault("certificate", f"{file} {expires} on {end:%Y-%m-%d}", advice)


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
