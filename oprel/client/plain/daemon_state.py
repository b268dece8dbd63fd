"""This machine's own daemon as clients see it: its lock, its socket, and the reason why it does not answer."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from oprel.client.base import Address, Scheme, local_address
from oprel.client.plain.unix_http import connected, exchange
from oprel.core.config import Config
from oprel.core.exceptions import ConnectError, OprelError, ShuttingDownError
from oprel.core.home import lock_files
from oprel.utils.files import listens, locked
from oprel.utils.process import systems

if TYPE_CHECKING:
    from http.client import HTTPConnection

ANSWER_SECONDS = 5.0  # that a daemon gets for a short answer
PROBE_SECONDS = 20.0  # before one that runs is given up: the machine may be busy, or swapping
QUIET_SECONDS = 5.0  # that are a silence, after which a client looks whether the daemon lives
REMADE_SECONDS = 6.0  # in which a daemon makes a socket again that was removed
POLL_INTERVAL = 0.005  # s
MOST_SILENCES = 12  # between two looks


def answers(address: Address, seconds: float) -> bool:
    """True if a daemon answers at a local address."""
    try:
        with contextlib.closing(connected(address, seconds)) as end, exchange(end, "GET", "/") as answer:
            return answer.status == 200
    except OSError:
        return False


def is_up(config: Config) -> bool:
    """True if the daemon of `config`'s home answers on its socket."""
    return answers(local_address(config), ANSWER_SECONDS)


def accepts(address: Address) -> bool:
    """True if a process accepts connections at a local address."""
    if address.scheme is Scheme.UNIX:
        return listens(Path(address.target))
    try:
        connected(address, ANSWER_SECONDS).close()
    except OSError:
        return False
    return True


def daemon_pid(config: Config) -> int | None:
    """The process ID of this machine's daemon, whether it answers or not; None when none is running.

    0 where the lock does not say.
    """
    with held_lock(config) as descriptor:
        return None if descriptor is None else pid_in(descriptor)


@contextlib.contextmanager
def held_lock(config: Config) -> Iterator[int | None]:
    """A lock file of the home that a daemon holds, else None. It contains the daemon's process ID."""
    for path in lock_files(config):
        try:
            descriptor = os.open(path, os.O_RDWR | systems.OWN_FILE)
        except OSError:  # it is missing, or no file: no daemon has it
            continue
        try:
            if not locked(descriptor):
                yield descriptor
                return
        finally:
            os.close(descriptor)
    yield None


def pid_in(descriptor: int) -> int:
    content = systems.read_at(descriptor, 32, 0)
    return int(content) if content.isdigit() else 0


def is_ending(config: Config) -> bool:
    """True while this machine's daemon lets answers finish: its socket exists, but no longer accepts connections."""
    return not _is_gone(config) and not is_listening(config) and daemon_pid(config) is not None


def is_listening(config: Config) -> bool:
    """True if this machine's own daemon accepts connections of clients."""
    return accepts(local_address(config))


def _is_gone(config: Config) -> bool:
    """Whether the home's socket was removed; a pipe cannot be."""
    return systems.HAS_UNIX_SOCKETS and not config.socket_path.is_socket()


def await_socket(config: Config) -> bool:
    """Wait while a daemon runs whose socket was removed: it makes another one. True if something listens there."""
    deadline = time.monotonic() + REMADE_SECONDS
    while _is_gone(config) and time.monotonic() < deadline and daemon_pid(config) is not None:
        time.sleep(POLL_INTERVAL)
    return is_listening(config)


def is_stopped(pid: int) -> bool:
    """True for a process that was put aside, as by Ctrl-Z."""
    import psutil

    try:
        return pid > 0 and psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    except psutil.Error:
        return False


def check_alive(address: Address, config: Config) -> None:
    """Ask the daemon at a local address, which has been silent, for a sign of life. Raises ConnectError.

    One that no longer listens lives: it lets answers finish. At its end the connection would end too.
    """
    pid = daemon_pid(config) if address[:2] == local_address(config)[:2] else None
    if (pid and is_stopped(pid)) or _is_deaf(address):
        silent = f"the daemon at {address} does not answer any more"
        raise ConnectError(silent) if pid is None else why_silent(config)


def _is_deaf(address: Address) -> bool:
    """True if something listens at a local address, and does not answer."""
    try:
        with contextlib.closing(connected(address, PROBE_SECONDS)) as end, exchange(end, "GET", "/"):
            return False
    except (TimeoutError, BlockingIOError):
        return True
    except OSError:
        return False


class SilenceChecks:
    """Called at each silence of a daemon; runs `check` at the first one, and then less and less often."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._silences, self._next = 0, 1

    def __call__(self) -> None:
        """Raises what the check raises."""
        self._silences += 1
        if self._silences >= self._next:
            self._next += min(self._next, MOST_SILENCES)
            self._check()


def why_silent(config: Config) -> OprelError:
    """The error when this machine's own daemon does not answer, and none may be started."""
    pid, hears = daemon_pid(config), is_listening(config)
    if pid is None and not hears:
        return ConnectError(
            f"no daemon runs for {config.home_dir}", "So no model is loaded. `oprel serve` starts a daemon."
        )
    named = f"the daemon (pid {pid})" if pid else "the daemon"
    if pid and is_stopped(pid):
        return ConnectError(
            f"{named} is stopped, as by Ctrl-Z in its terminal",
            f"`fg` there, or `kill -CONT {pid}`, continues it; `oprel stop --daemon` ends it.",
        )
    if is_ending(config):
        return ShuttingDownError(
            f"{named} is stopping, and lets answers finish",
            "Try again in a moment, or stop it at once: `oprel stop --daemon --now`.",
        )
    if pid is None or hears:
        return ConnectError(
            f"the daemon of {config.home_dir} is running{f' (pid {pid})' if pid else ''} but does not answer",
            "`oprel restart --now` starts another one; `oprel logs` shows its log.",
        )
    address, is_there = _over_tcp(config, pid)
    return ConnectError(
        f"{named} runs, but its socket {config.socket_path} is gone, "
        + (f"and it answers at {address} only" if is_there else f"and it does not answer at {address} either"),
        f"`oprel restart` starts another one{f', and OPREL_HOST={address} uses this one' if is_there else ''}.",
    )


def _over_tcp(config: Config, pid: int) -> tuple[str, bool]:
    """Where the daemon listens for TCP, and whether it is the one that answers there."""
    import json
    from http.client import HTTPException

    from oprel.core.configuration.published import published

    daemon = published(config)
    address = daemon.address if daemon else f"http://{config.server_host}:{config.server_port}"
    connection = _connection(address)
    try:
        connection.request("GET", "/health")
        health = json.loads(connection.getresponse().read())
        return address, isinstance(health, dict) and health.get("pid") == pid
    except (OSError, ValueError, HTTPException):
        return address, False
    finally:
        connection.close()


def _connection(address: str) -> "HTTPConnection":
    """To an address of this machine's daemon, whose certificate does not matter for a look at its process ID."""
    from http.client import HTTPConnection, HTTPSConnection
    from urllib.parse import urlsplit

    url = urlsplit(address)
    if url.scheme != "https":
        return HTTPConnection(url.netloc, timeout=ANSWER_SECONDS)
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return HTTPSConnection(url.netloc, timeout=ANSWER_SECONDS, context=context)
