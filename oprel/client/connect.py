"""Finding the daemon, and starting it when none runs.

Race-free by two locks in the run folder: starters queue on `start.lock` and look again once they hold it, and the
daemon itself holds `daemon.lock` for life. Twenty clients that find no daemon start one.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import anyio.to_thread
import httpx

from oprel.client.base import LOCAL_URL, Address, Scheme
from oprel.client.http import open_http, open_http_async
from oprel.client.socket import open_socket, open_socket_async
from oprel.client.transports import scheme_of, transports
from oprel.core.config import SERVER_SETTINGS, Config, flag, load_config
from oprel.core.exceptions import DaemonStartError
from oprel.core.home import check_home, prepare_home
from oprel.utils.files import listens, locked, tail

START_SECONDS = 60.0
LOOK_INTERVAL = 0.02  # s between looks at a starting daemon
LOG_LINES = 15
LARGE_LOG = 10 * 1024**2  # bytes, at which the next daemon begins a new one


def open_transport(address: Address, config: Config) -> httpx.BaseTransport:
    """A transport to `address`; the machine's own daemon is started when it does not answer."""
    if address.scheme is Scheme.HTTP:
        return open_http(secure=address.target.startswith("https:"))
    if address.scheme is Scheme.ANNOUNCED:
        return transports()[scheme_of(address.target)].open(address.target)
    transport = open_socket(address.target)
    if not address.own:
        return transport
    check_home(config)
    return _Starting(transport, config)


def open_transport_async(address: Address, config: Config) -> httpx.AsyncBaseTransport:
    if address.scheme is Scheme.HTTP:
        return open_http_async(secure=address.target.startswith("https:"))
    if address.scheme is Scheme.ANNOUNCED:
        return transports()[scheme_of(address.target)].open_async(address.target)
    transport = open_socket_async(address.target)
    if not address.own:
        return transport
    check_home(config)
    return _StartingAsync(transport, config)


class _Starting(httpx.BaseTransport):
    def __init__(self, inner: httpx.BaseTransport, config: Config) -> None:
        self._inner = inner
        self._config = config

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return self._inner.handle_request(request)
        except httpx.ConnectError:
            ensure_daemon(self._config)
            return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


class _StartingAsync(httpx.AsyncBaseTransport):
    def __init__(self, inner: httpx.AsyncBaseTransport, config: Config) -> None:
        self._inner = inner
        self._config = config

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._inner.handle_async_request(request)
        except httpx.ConnectError:
            await anyio.to_thread.run_sync(ensure_daemon, self._config)
            return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


def ensure_daemon(config: Config) -> None:
    """Return once this machine's daemon answers, starting it if need be.

    Raises DaemonStartError with the end of its log, or ConfigError when OPREL_HOME cannot be written.
    """
    with _start_lock(config):
        if not is_up(config):
            log = config.logs_dir / "daemon.log"
            old_bytes = log.stat().st_size if log.exists() else 0
            if old_bytes > LARGE_LOG:
                log.replace(log.with_suffix(".log.1"))
                old_bytes = 0
            _await_up(config, _spawn(config, log), log, old_bytes)


def is_up(config: Config) -> bool:
    """True when the daemon of `config`'s home answers on its socket."""
    with httpx.Client(transport=open_socket(str(config.socket_path)), base_url=LOCAL_URL, timeout=5.0) as http:
        try:
            return http.get("/health").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


def serve_command(config: Config) -> list[str]:
    """The command that serves `config`, whatever file and environment the daemon will find."""
    found = load_config()
    values = {name: getattr(config, name) for name in SERVER_SETTINGS}
    given = {name: value for name, value in values.items() if {value, getattr(found, name)} != {getattr(Config, name)}}
    return [
        *(sys.executable, "-P", "-m", "oprel", "serve"),
        *(f"{flag(name)}={value}" for name, value in given.items()),
    ]


def stop_daemon(config: Config, *, now: bool = False) -> bool:
    """Ask this machine's daemon to end, and return when it has; False when none runs.

    One that is ending already is only waited for; `now` ends it without letting answers finish.
    """
    with _held_lock(config) as descriptor:
        if descriptor is None:
            return False
        was_asked = was_hurried = False
        while not locked(descriptor):
            ends = is_ending(config)
            if not (ends or was_asked) or (ends and now and not was_hurried):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(os.pread(descriptor, 32, 0)), signal.SIGTERM)
                was_asked, was_hurried = True, ends
            time.sleep(LOOK_INTERVAL)
        return True


def is_ending(config: Config) -> bool:
    """True while this machine's daemon lets answers finish: its socket is there, and silent."""
    return config.socket_path.exists() and not listens(config.socket_path) and daemon_pid(config) is not None


def daemon_pid(config: Config) -> int | None:
    """The process of this machine's daemon, whether it answers or not."""
    with _held_lock(config) as descriptor:
        return int(os.pread(descriptor, 32, 0)) if descriptor is not None else None


@contextlib.contextmanager
def _held_lock(config: Config) -> Iterator[int | None]:
    """The lock of the home while a daemon holds it: the pid in it is that of the holder."""
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


def _spawn(config: Config, log: Path) -> subprocess.Popen[bytes]:
    """Start the daemon detached from this process: its own session, its output in the log, no terminal."""
    with log.open("ab") as output:
        return subprocess.Popen(
            serve_command(config),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            start_new_session=True,
        )


def _await_up(config: Config, process: subprocess.Popen[bytes], log: Path, old_bytes: int) -> None:
    """Wait until the daemon answers. `log` is its log, of which `old_bytes` are from daemons before it."""
    deadline = time.monotonic() + START_SECONDS
    while not is_up(config):
        status = process.poll()
        if status is not None or time.monotonic() > deadline:
            why = (
                f"ended with status {status}" if status is not None else f"did not answer within {START_SECONDS:.0f} s"
            )
            lines = "\n".join(f"    {line}" for line in tail(log, LOG_LINES, since=old_bytes))
            raise DaemonStartError(
                f"the daemon {why}; the end of {log}:\n{lines}", "Run `oprel serve` to see it start."
            )
        time.sleep(LOOK_INTERVAL)
    process.returncode = 0  # it lives on: tell Popen that nobody will wait for it, or it warns at exit
