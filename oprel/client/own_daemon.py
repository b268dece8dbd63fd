"""Starts and stops this machine's own daemon.

Two locks prevent races: clients queue on `start.lock` and check again once they hold it, and the daemon holds
`daemon.lock` as long as it runs. Twenty clients that find no daemon start exactly one.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from oprel.client.base import Address, local_address
from oprel.client.plain.daemon_state import (
    POLL_INTERVAL,
    PROBE_SECONDS,
    await_socket,
    daemon_pid,
    held_lock,
    is_ending,
    is_listening,
    is_stopped,
    is_up,
    pid_in,
    why_silent,
)
from oprel.core.config import SERVER_SETTINGS, Config, flag, load_config
from oprel.core.configuration.environment import SECRET_SETTINGS, daemon_environment
from oprel.core.configuration.published import published
from oprel.core.exceptions import ConnectError, DaemonStartError
from oprel.core.home import prepare_home
from oprel.utils.files import LARGEST_LOG, locked, open_lock, open_own, shift_logs, tail
from oprel.utils.process import systems
from oprel.utils.process.observed_time import ObservedTime
from oprel.utils.text import parse_duration

if TYPE_CHECKING:
    import subprocess

START_SECONDS = 60.0
LOCK_SECONDS = 90.0  # for another command that starts the daemon
END_SECONDS = 25.0  # for a daemon to end after its last answer
NOW_SECONDS = 15.0  # for one that is to end at once, before it is killed
LOCK_POLL_INTERVAL = 0.02  # s; many commands may wait
LOG_LINES = 15
STARTING_LINES = 100  # more than a daemon logs before it answers


def ensure_daemon(config: Config, *, drop_in: bool = False) -> None:
    """Return once this machine's daemon answers; start it if necessary.

    Raises DaemonStartError with the end of its log, ConnectError for one that runs but does not answer, or ConfigError
    when OPREL_HOME is not writable.
    """
    with _start_lock(config):
        if not (is_up(config) or _answers_again(config)):
            log = config.logs_dir / "daemon.log"
            old_bytes = log.stat().st_size if log.exists() else 0
            if old_bytes > LARGEST_LOG:
                shift_logs(log)
                old_bytes = 0
            _await_up(
                config,
                _spawn([*serve_command(config), *(["--drop-in"] if drop_in else [])], log, config),
                log,
                old_bytes,
            )
            _tell_of_port(config, log, old_bytes)


def reached_again(address: Address, config: Config) -> bool:
    """After nothing accepted a connection at `address`: True where the next attempt may succeed.

    This machine's own daemon is started, or had its socket removed and makes another one. Raises ConnectError where it
    runs all the same, and what `ensure_daemon` raises.
    """
    if address.own:
        ensure_daemon(config)
        return True
    if address[:2] != local_address(config)[:2]:
        return False
    if not await_socket(config) and daemon_pid(config) is not None:
        raise why_silent(config)
    return is_listening(config)


def serve_command(config: Config) -> list[str]:
    """The command that serves `config`, whatever the configuration file and the environment say.

    But for secrets, which every user could read: `daemon_environment` has them.
    """
    ambient = load_config()
    values = {name: getattr(config, name) for name in SERVER_SETTINGS}
    given = {
        name: value
        for name, value in values.items()
        if {value, getattr(ambient, name)} != {getattr(Config, name)} and name not in SECRET_SETTINGS
    }
    return [
        *(sys.executable, "-P", "-m", "oprel", "serve"),
        *(f"{flag(name)}={value}" for name, value in given.items()),
    ]


def stop_daemon(config: Config, *, now: bool = False) -> bool:
    """Stop this machine's daemon and wait until it has exited; False when none is running.

    A daemon that is already stopping gets no second signal, unless `now` asks it not to let answers finish. One that
    was put aside (Ctrl-Z) goes on, in order to end. Raises ConnectError where it does not end: it is killed only `now`.
    """
    with held_lock(config) as descriptor:
        if descriptor is None:
            return False
        pid = _pid_of(config, descriptor)
        limit = NOW_SECONDS if now else _drain_seconds(config) + END_SECONDS
        clock = ObservedTime()
        deadline = clock() + limit
        signalled = signalled_twice = False
        while not locked(descriptor):
            ending = is_ending(config)
            if not (ending or signalled) or (ending and now and not signalled_twice):
                _signal(pid, signal.SIGTERM)
                if systems.CONTINUE:
                    _signal(pid, systems.CONTINUE)
                signalled, signalled_twice = True, ending
            if clock() > deadline:
                if not now:
                    step = f"`oprel stop --daemon --now` ends it at once, and kills it if need be (pid {pid})."
                    raise ConnectError(f"the daemon has not ended within {limit:.0f} s", step)
                _signal(pid, systems.KILL)  # its engines end with it
            time.sleep(POLL_INTERVAL)
        return True


def _pid_of(config: Config, descriptor: int) -> int:
    """Raises ConnectError."""
    daemon = published(config)
    if pid := pid_in(descriptor) or (daemon.pid if daemon else 0):
        return pid
    raise ConnectError("a daemon runs, but its lock does not say which process it is", "End `oprel serve` by hand.")


def _drain_seconds(config: Config) -> float:
    """How long the running daemon lets answers finish."""
    daemon = published(config)
    if daemon and "drain_timeout" in daemon.settings:
        return parse_duration(str(daemon.settings["drain_timeout"].value))
    return config.drain_timeout_seconds


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


@contextlib.contextmanager
def _start_lock(config: Config) -> Iterator[None]:
    """Inside the block no other command starts the daemon, or it is there. Raises DaemonStartError."""
    prepare_home(config)
    descriptor = open_lock(config.run_dir / "start.lock")
    now = ObservedTime()
    deadline = now() + LOCK_SECONDS
    try:
        while not locked(descriptor) and not is_up(config):  # the command that has it may have been put aside since
            if now() > deadline:
                raise DaemonStartError(
                    f"another command has been starting the daemon for {LOCK_SECONDS:.0f} s",
                    "Was it put aside with Ctrl-Z? Continue it with `fg`, or end it.",
                )
            time.sleep(LOCK_POLL_INTERVAL)
        yield
    finally:
        os.close(descriptor)


def _answers_again(config: Config) -> bool:
    """Wait for a daemon that runs but did not answer, and may not be replaced; False where there is none, or it ends.

    Raises ConnectError where it does not answer.
    """
    now = ObservedTime()
    deadline = now() + PROBE_SECONDS
    while (pid := daemon_pid(config)) is not None and not is_ending(config):
        if is_stopped(pid):
            raise why_silent(config)
        if is_up(config):
            return True
        if now() > deadline:
            raise why_silent(config)
        time.sleep(POLL_INTERVAL)
    return False


def _spawn(command: list[str], log: Path, config: Config) -> "subprocess.Popen[bytes]":
    """Start the daemon detached: in its own session, without a terminal, with its output in the log."""
    import subprocess

    with open(open_own(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as output:
        return subprocess.Popen(
            command,
            env=daemon_environment(config),
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
    listening = re.search(r"oprel listens on (https?://[^\s,]+:(\d+))", lines)
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
