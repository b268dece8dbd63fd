"""The effective settings of a running daemon, in a file beside its socket: commands read it without a request."""

import json
import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from oprel.core.config import SETTINGS, Config
from oprel.core.configuration.given import Given
from oprel.core.settings import Value
from oprel.utils.files import read_own, write_atomically

FILE = "settings.json"
HIDDEN = "***"
# What may hold a password or a token: the user part of an address, and values of an engine's flags and variables.
# Compiled when first used: most commands show no such value.
_IN_ADDRESS = r"(?<=://)[^/@\s,]+(?=@)"
_SECRET_NAME = r"[\w-]*(?:key|token|secret|passw)[\w-]*"
_IN_FLAG = rf"""(?i)(--{_SECRET_NAME}[= ]\s*|\b{_SECRET_NAME}=)(?:'[^']*'|"[^"]*"|[^\s"']+)"""
MAY_HOLD_SECRETS = (
    *("hf_endpoint", "ollama_registry", "engine_args", "engine_variables"),
    *("models", "origins", "insecure_registries"),
)


class DaemonStart(NamedTuple):
    """How a daemon was started. `file`: its configuration file; `service`: the kind of service that it runs as."""

    config: Config
    given: Given
    file: str = ""
    drop_in: bool = False
    service: str = ""


class EffectiveSetting(NamedTuple):
    """`origin` is empty for a default. `digest` identifies a value that is not shown in full."""

    value: Value
    origin: str
    digest: str = ""


class PublishedSettings(NamedTuple):
    """What a running daemon says of itself."""

    pid: int
    version: str
    address: str
    file: str
    drop_in: bool
    service: str
    settings: Mapping[str, EffectiveSetting]


def effective(config: Config, given: Given) -> dict[str, EffectiveSetting]:
    """Every setting, without secrets."""
    return {name: _effective(name, config, given[name].origin if name in given else "") for name in SETTINGS}


def _effective(name: str, config: Config, origin: str) -> EffectiveSetting:
    value = getattr(config, name)
    shown = without_secrets(name, value)
    return EffectiveSetting(shown, origin, "" if shown == value else digest(value))


def without_secrets(name: str, value: Value) -> Value:
    """The value as it may be shown.

    >>> without_secrets("hf_endpoint", "https://me:secret@mirror")
    'https://***@mirror'
    >>> without_secrets("engine_args", "--api-key x --mlock")
    '--api-key *** --mlock'
    >>> without_secrets("api_keys", "s3cret"), without_secrets("api_keys", "file:/run/secrets/oprel")
    ('***', 'file:/run/secrets/oprel')
    """
    if name == "api_keys" and value and not str(value).startswith("file:"):
        return HIDDEN
    if name not in MAY_HOLD_SECRETS or not isinstance(value, str):
        return value
    return re.sub(_IN_FLAG, rf"\1{HIDDEN}", re.sub(_IN_ADDRESS, HIDDEN, value))


def digest(value: Value) -> str:
    """Tells whether two values are equal without telling them."""
    import hashlib

    return hashlib.sha256(str(value).encode()).hexdigest()[:16]


def publish(start: DaemonStart, version: str, address: str) -> None:
    """Write the file of this process. `address`: where it listens for TCP. Raises OSError."""
    published = PublishedSettings(
        pid=os.getpid(),
        version=version,
        address=address,
        file=start.file,
        drop_in=start.drop_in,
        service=start.service,
        settings=effective(start.config, start.given),
    )
    content = {**published._asdict(), "settings": {name: [*entry] for name, entry in published.settings.items()}}
    write_atomically(start.config.run_dir / FILE, json.dumps(content).encode())


def is_published(config: Config) -> bool:
    return (config.run_dir / FILE).is_file()


def withdraw(config: Config) -> None:
    (config.run_dir / FILE).unlink(missing_ok=True)


def published(config: Config) -> PublishedSettings | None:
    """What this machine's daemon last published; None if it is no daemon of this kind. It may have ended since."""
    try:
        content = json.loads(read_own(config.run_dir / FILE))
        settings = {name: EffectiveSetting(*entry) for name, entry in content.pop("settings").items()}
        others = {name: content[name] for name in PublishedSettings._fields if name != "settings"}
        return PublishedSettings(**others, settings=settings)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or written by another version
        return None
