"""Maps Ollama's environment variables to oprel's settings, for `oprel serve --drop-in`. Pure.

>>> environ = {"OLLAMA_HOST": "0.0.0.0", "OLLAMA_NUM_PARALLEL": " '2' ", "OLLAMA_NOPRUNE": "1"}
>>> [dict(reading.settings) for reading in readings(environ)]
[{'server_host': '0.0.0.0', 'server_port': 11434}, {'parallel': 2}]
>>> meaningless(environ)
['OLLAMA_NOPRUNE']
"""

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from oprel.utils.text import parse_duration

PREFIX = "OLLAMA_"
PORT = 11434
# Read by `places`, not only by a drop-in daemon.
ALWAYS_FOLLOWED = {"OLLAMA_MODELS"}
# Longer than any daemon runs: stands for Ollama's "infinite" where a duration is required.
NEVER = "87600h"

Settings = Mapping[str, str | int]


@dataclass(frozen=True)
class Reading:
    """The settings from one variable; empty with an `error` if its value is invalid."""

    variable: str
    settings: Settings
    error: str = ""


def readings(environ: Mapping[str, str]) -> Iterator[Reading]:
    """The settings from each supported variable. Blanks and quotes around a value are ignored."""
    given = _given(environ)
    for variable, read in READERS.items():
        if variable in given:
            try:
                yield Reading(variable, read(given[variable]))
            except ValueError as error:
                yield Reading(variable, {}, str(error))


def meaningless(environ: Mapping[str, str]) -> list[str]:
    """Ollama's variables that are set but have no meaning in oprel."""
    return sorted(_given(environ).keys() - READERS.keys() - ALWAYS_FOLLOWED)


def _given(environ: Mapping[str, str]) -> dict[str, str]:
    stripped = {name: value.strip().strip("\"'") for name, value in environ.items() if name.startswith(PREFIX)}
    return {name: value for name, value in stripped.items() if value}


def _address(text: str) -> Settings:
    """`[http[s]://]HOST[:PORT][/...]`; a port alone listens on all addresses."""
    scheme, has_scheme, rest = text.partition("://")
    usual = {"http": 80, "https": 443}.get(scheme, PORT) if has_scheme else PORT
    place = (rest if has_scheme else text).partition("/")[0]
    if _is_ip(place.strip("[]")):
        return {"server_host": place.strip("[]"), "server_port": usual}
    host, has_port, port = place.rpartition(":")
    if not has_port:
        return {"server_host": place or "127.0.0.1", "server_port": usual}
    if not port.isdecimal():
        raise ValueError(f"{port!r} is not a port")
    return {"server_host": host.strip("[]") or "0.0.0.0", "server_port": int(port)}


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _truth(text: str) -> bool:
    """Parse a boolean like Go; any other text is true."""
    return text not in ("0", "f", "F", "false", "False", "FALSE")


def _seconds(text: str) -> float:
    """A duration, or a whole number of seconds."""
    try:
        return int(text)
    except ValueError:
        return parse_duration(text)


def _keep_alive(text: str) -> Settings:
    return {"keep_alive": text if _seconds(text) >= 0 else "-1"}


def _load_timeout(text: str) -> Settings:
    seconds = _seconds(text)
    return {"load_timeout": NEVER if seconds <= 0 else f"{seconds:f}s"}


def _count(name: str) -> Callable[[str], Settings]:
    """A reader for a number; 0 leaves the choice to the server."""

    def read(text: str) -> Settings:
        if not text.isdecimal():
            raise ValueError(f"{text!r} is not a whole number")
        return {name: int(text)} if int(text) else {}

    return read


READERS: Mapping[str, Callable[[str], Settings]] = {
    "OLLAMA_HOST": _address,
    "OLLAMA_ORIGINS": lambda text: {"origins": text},
    "OLLAMA_KEEP_ALIVE": _keep_alive,
    "OLLAMA_LOAD_TIMEOUT": _load_timeout,
    "OLLAMA_NUM_PARALLEL": _count("parallel"),
    "OLLAMA_MAX_QUEUE": _count("max_queue"),
    "OLLAMA_CONTEXT_LENGTH": _count("ctx_size"),
    "OLLAMA_FLASH_ATTENTION": lambda text: {"flash_attention": "on" if _truth(text) else "off"},
    "OLLAMA_KV_CACHE_TYPE": lambda text: {"kv_cache_type": text.lower()},
    "OLLAMA_DEBUG": lambda text: {"log_level": "debug"} if _truth(text) else {},
}
