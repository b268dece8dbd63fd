"""What is read from the environment beside settings: terminals, proxies, editors, and what children get of it."""

import functools
import os
from typing import TYPE_CHECKING

from oprel.core.configuration import child_environments

if TYPE_CHECKING:
    from oprel.core.config import Config

# Set by service managers for the daemon alone: an engine must not answer in its place.
SERVICE_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
SECRET_SETTINGS = ("api_keys",)


def service_variables() -> dict[str, str]:
    """What a service manager told this process: sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3)."""
    return {name: os.environ[name] for name in SERVICE_VARIABLES if name in os.environ}


def network_variables() -> dict[str, str]:
    """The variables that name proxies, and files of trusted authorities as OpenSSL, requests and curl read them."""
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    return {name: value for name, value in os.environ.items() if name in names or name.lower().endswith("_proxy")}


def child_environment() -> dict[str, str]:
    """The environment of an engine: what it needs of ours."""
    return child_environments.for_engines(os.environ)


def daemon_environment(config: "Config") -> dict[str, str]:
    """The environment of a daemon that this process starts: its own, with the secrets of `config`."""
    given = {f"OPREL_{name.upper()}": str(getattr(config, name)) for name in SECRET_SETTINGS if getattr(config, name)}
    return {**os.environ, **given}


def client_key() -> str:
    """The key that clients are to send; empty without one."""
    return os.environ.get("OPREL_API_KEY", "")


def ollama_key() -> str:
    """The key that Ollama's clients send."""
    return os.environ.get("OLLAMA_API_KEY", "")


def tool_environment() -> dict[str, str]:
    """The environment of programs that the user trusts with secrets, such as pip: ours, without what is oprel's own."""
    return child_environments.for_trusted_programs(os.environ, SERVICE_VARIABLES)


def use_for_temporary_files(folder: str) -> None:
    """Let programs that are started from now on make their temporary files there."""
    os.environ["TMPDIR"] = folder


def is_dumb_terminal() -> bool:
    """True for a terminal that cannot move its cursor."""
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


@functools.cache
def help_columns() -> int:
    """The width of help texts: $COLUMNS, else the terminal's, else 80."""
    if (columns := os.environ.get("COLUMNS", "")).isdigit() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


def wants_colour() -> bool:
    """False if the user disabled colours: https://no-color.org."""
    return not os.environ.get("NO_COLOR")


def preferred_editor() -> str:
    """The command of the editor that the user chose, in shell syntax; empty if none was."""
    return os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
