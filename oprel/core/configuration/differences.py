"""What is set here, but not in effect in the running daemon. Pure, and so are its sentences."""

import json
import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from oprel.core.configuration.given import Given
from oprel.core.configuration.published import PublishedSettings, digest, without_secrets
from oprel.core.settings import DURATIONS, PATHS, Value

# `home` says which daemon is meant, and `host` is for clients.
NOT_COMPARED = ("home", "host")
LISTS = ("origins", "preload", "insecure_registries")
# Values that leave the choice to the daemon.
AUTOMATIC = {
    **dict.fromkeys(("ctx_size", "batch_size", "parallel", "n_threads", "default_max_memory_mb"), 0),
    "n_gpu_layers": -1,
}
LONGEST_VALUE, LONG = 40, "another value"  # characters; what stands for a longer one
MOST_NAMED = 3


class SettingDifference(NamedTuple):
    """`here` is None where the setting was removed from the file since the daemon read it."""

    name: str
    here: Value | None
    daemon: Value


def differences(given: Given, file: str, daemon: PublishedSettings) -> list[SettingDifference]:
    """Settings of the caller's `file` and environment that the daemon does not have."""
    changed = [
        SettingDifference(name, without_secrets(name, setting.value), daemon.settings[name].value)
        for name, setting in given.items()
        if name in daemon.settings and name not in NOT_COMPARED and not setting.origin.startswith("--")
        if not _is_in_effect(name, setting.value, daemon)
    ]
    removed = [
        SettingDifference(name, None, effective.value)
        for name, effective in daemon.settings.items()
        if file and name not in given and name not in NOT_COMPARED and effective.origin.rpartition(":")[0] == file
    ]
    return changed + removed


def _is_in_effect(name: str, value: Value, daemon: PublishedSettings) -> bool:
    effective = daemon.settings[name]
    if effective.digest:
        return digest(value) == effective.digest
    return value == effective.value or _meaning(name, value) == _meaning(name, effective.value)


def _meaning(name: str, value: Value) -> object:
    """Equal for values that mean the same. Values of other versions may not be valid here."""
    text = str(value)
    try:
        if name in DURATIONS:
            return DURATIONS[name](text)
        if name == "models":
            return json.loads(text or "{}")
    except ValueError:
        return text
    if name in PATHS:
        return os.path.abspath(os.path.expanduser(text)) if text else ""
    if name in LISTS:
        return sorted({part.strip() for part in text.split(",")} - {""})
    return text


def sentence(different: Sequence[SettingDifference], daemon: PublishedSettings, version: str, remedy: str) -> str:
    """One line about an older daemon and settings that differ; empty without either."""
    parts = []
    if is_newer(version, daemon.version):
        parts.append(f"the running daemon has version {daemon.version}, this command {version}")
    if set_here := [(name, here, daemons) for name, here, daemons in different if here is not None]:
        parts.append(_set_here(set_here))
    removed = [f"{name} {shown(name, value)}" for name, here, value in different if here is None]
    if removed:
        parts.append(f"the running daemon still has {_joined(removed)}, which the file no longer sets")
    return f"{'; '.join(parts)}: {remedy}" if parts else ""


def _set_here(different: Sequence[tuple[str, Value, Value]]) -> str:
    named, further = different[:MOST_NAMED], len(different) - MOST_NAMED
    more = [f"{further} more"] if further > 0 else []
    here = _joined([f"{name} {shown(name, value)}".removesuffix(f" {LONG}") for name, value, _ in named] + more)
    daemon = _joined([shown(name, value) for name, _, value in named] + more)
    return f"{here} {'is' if len(different) == 1 else 'are'} set here, but the running daemon has {daemon}"


def shown(name: str, value: Value) -> str:
    """A setting's value in a sentence.

    >>> shown("ctx_size", 0), shown("ctx_size", 256), shown("backend", "")
    ('0 (automatic)', '256', 'none')
    """
    text = str(value)
    if AUTOMATIC.get(name) == value:
        return f"{text} (automatic)"
    return LONG if len(text) > LONGEST_VALUE else text or "none"


def _joined(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def is_newer(version: str, other: str) -> bool:
    """Whether a version comes after another one.

    >>> is_newer("0.10.0", "0.9.1"), is_newer("1.0", "1.0.0"), is_newer("0.1.0", "0.2.0")
    (True, False, False)
    """
    first, second = ([int(part) for part in re.findall(r"\d+", text)] for text in (version, other))
    length = max(len(first), len(second))
    return first + [0] * (length - len(first)) > second + [0] * (length - len(second))
