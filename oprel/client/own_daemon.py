"""Starts and stops this machine's own daemon.

Two locks in the run folder prevent races: clients queue on `start.lock` and check again once they hold it, and the
daemon holds `daemon.lock` as long as it runs. Twenty clients that find no daemon start exactly one.
"""

import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from oprel.client.plain.unix_http import connected, exchange
from oprel.core.config import SERVER_SETTINGS, Config, flag, load_config
from oprel.core.exceptions import DaemonStartError
from oprel.core.home import prepare_home
from oprel.utils.files import LARGEST_LOG, listens, locked, shift_logs, tail
from oprel.utils.process.observed_time import ObservedTime

if TYPE_CHECKING:
    import subprocess

START_SECONDS = 60.0
ANSWER_SECONDS = 5.0
POLL_INTERVAL = 0.005  # s
LOG_LINES = 15
STARTING_LINES = 100  # more than a daemon logs before it answers


def ensure_daemon(config: Config, *, drop_in: bool = False) -> None:
    """Return once this machine's daemon answers; start it if necessary.

    Raises DaemonStartError with the end of its log, or ConfigError when OPREL_HOME is not writable.
    """
    with _start_lock(config):
        if not is_up(config):
            log = config.logs_dir / "daemon.log"
            old_bytes = log.stat().st_size if log.exists() else 0
            if old_bytes > LARGEST_LOG:
                shift_logs(log)
                old_bytes = 0
            _await_up(
                config, _spawn([*serve_command(config), *(["--drop-in"] if drop_in else [])], log), log, old_bytes
            )
            _tell_of_port(config, log, old_bytes)


def is_up(config: Config) -> bool:
    """True if the daemon of `config`'s home answers on its socket."""
    try:
        with (
            connected(str(config.socket_path), ANSWER_SECONDS) as connection,
            exchange(connection, "GET", "/") as answer,
        ):
            return answer.status == 200
    except OSError:
        return False


def serve_command(config: Config) -> list[str]:
    """The command that serves `config`, whatever the configuration file and the environment say."""
    ambient = load_config()
    values = {name: getattr(config, name) for name in SERVER_SETTINGS}
    given = {
        name: value for name, value in values.items() if {value, getattr(ambient, name)} != {getattr(Config, name)}
    }
    return [
        *(sys.executable, "-P", "-m", "oprel", "serve"),
        *(f"{flag(name)}={value}" for name, value in given.items()),
    ]


def stop_daemon(config: Config, *, now: bool = False) -> bool:
    """Stop this machine's daemon and wait until it has exited; False when none is running.

    A daemon that is already stopping gets no second signal, unless `now` asks it not to let answers finish.
    """
    with _held_lock(config) as descriptor:
        if descriptor is None:
            return False
        signalled = signalled_twice = False
        while not locked(descriptor):
            ending = is_ending(config)
            if not (ending or signalled) or (ending and now and not signalled_twice):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(os.pread(descriptor, 32, 0)), signal.SIGTERM)
                signalled, signalled_twice = True, ending
            time.sleep(POLL_INTERVAL)
        return True


def is_ending(config: Config) -> bool:
    """True while this machine's daemon lets answers finish: its socket exists, but no longer accepts connections."""
    return config.socket_path.exists() and not listens(config.socket_path) and daemon_pid(config) is not None


def daemon_pid(config: Config) -> int | None:
    """The process ID of this machine's daemon, whether it answers or not; None when none is running."""
    with _held_lock(config) as descriptor:
        return int(os.pread(descriptor, 32, 0)) if descriptor is not None else None


@contextlib.contextmanager
def _held_lock(config: Config) -> Iterator[int | None]:
    """The home's lock file if a daemon holds it, else None. It contains the daemon's process ID."""
    try:
        descriptor = os.open(config.run_dir / "daemon.lock", os.O_RDWR)
    except FileNotFoundError:
        yield None
        return
    try:
        yield None if locked(descriptor) else descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _start_lock(config: Config) -> Iterator[None]:
    prepare_home(config)
    descriptor = os.open(config.run_dir / "start.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _spawn(command: list[str], log: Path) -> "subprocess.Popen[bytes]":
    """Start the daemon detached: in its own session, without a terminal, with its output in the log."""
    import subprocess

    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            start_new_session=True,
        )


def _tell_of_port(config: Config, log: Path, old_bytes: int) -> None:
    """Warn if the daemon listens on another port than the configured one, which another user has."""
    import re

    lines = "\n".join(tail(log, STARTING_LINES, since=old_bytes))
    listening = re.search(r"oprel listens on (http://\S+:(\d+))", lines)
    if listening and config.server_port and int(listening[2]) != config.server_port:
        import logging

        logging.getLogger(__name__).warning(
            "Port %s belongs to another user: this daemon listens on %s. Other programs find it by OLLAMA_HOST=%s",
            *(config.server_port, listening[1], listening[1]),
        )


def _await_up(config: Config, process: "subprocess.Popen[bytes]", log: Path, old_bytes: int) -> None:
    """Wait until the daemon answers. The first `old_bytes` of `log` are from earlier daemons."""
    now = ObservedTime()
    deadline = now() + START_SECONDS
    while not is_up(config):
        status = process.poll()
        if status is not None or now() > deadline:
            why = (
                f"ended with status {status}" if status is not None else f"did not answer within {START_SECONDS:.0f} s"
            )
            lines = "\n".join(f"    {line}" for line in tail(log, LOG_LINES, since=old_bytes))
            raise DaemonStartError(
                f"the daemon {why}; the end of {log}:\n{lines}", "Run `oprel serve` to see it start."
            )
        time.sleep(POLL_INTERVAL)
    process.returncode = 0  # it keeps running: without a return code, Popen would warn when it is collected
