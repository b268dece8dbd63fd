"""The daemon's process, one per OPREL_HOME. It listens on TCP and on a Unix socket."""

import asyncio
import contextlib
import errno
import gc
import logging
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from email.utils import formatdate
from pathlib import Path
from types import FrameType

import uvicorn
from uvicorn.server import ServerState

from oprel.core.config import Config
from oprel.core.exceptions import ConfigError, OprelError
from oprel.core.home import prepare_home
from oprel.core.ollama_env import PORT as OLLAMA_PORT
from oprel.runtime.binaries.engine_binaries import EngineBinaries, check_configured
from oprel.runtime.supervisor import records
from oprel.server.api.common.app_state import AppState
from oprel.server.api.http_protocol import HttpProtocol
from oprel.server.api.request_limits import raise_file_limit
from oprel.server.app import assemble, create_app
from oprel.server.pool.memory_measurement import MemoryMeasurement
from oprel.server.preloading import Preloading
from oprel.utils.files import listens, locked
from oprel.utils.logging import setup_logging

logger = logging.getLogger(__name__)

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75  # of idle connections; longer than in clients (httpx: 5), or both might close at once
STOP_SECONDS = 15  # for a daemon to stop its engines after its last answer


def serve(config: Config, notes: Sequence[str] = ()) -> None:
    """Run until SIGINT or SIGTERM. Logs `notes` first.

    Raises ConfigError for an unusable home, a port in use or a second daemon.
    """
    os.umask(0o077)  # whatever this daemon and its engines write is for its user alone
    setup_logging(config.log_level)
    for note in notes:
        logger.warning("%s", note)
    prepare_home(config)
    raise_file_limit()
    check_configured(config)
    with _only_daemon(config):
        records.reconcile(config.run_dir)
        tcp, unix = _tcp_socket(config), _unix_socket(config.socket_path)
        state = assemble(config, EngineBinaries.of(config), config.run_dir)
        host, port = tcp.getsockname()[:2]
        logger.info("oprel listens on http://%s:%s and unix:%s (pid %s)", host, port, config.socket_path, os.getpid())
        for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises the signal again at the end: exit with 0
            signal.signal(number, lambda *_: sys.exit(0))
        try:
            DaemonServer(state).run(sockets=[unix, tcp])
        finally:
            config.socket_path.unlink(missing_ok=True)


class DaemonServer(uvicorn.Server):
    """Shuts down in two steps: it finishes the answers and refuses new requests over TCP, then closes the connections.

    It closes the Unix socket first, so that oprel's own clients start the next daemon, which waits for the lock. A
    second signal ends everything at once.
    """

    def __init__(self, state: AppState) -> None:
        settings = uvicorn.Config(
            create_app(state),
            http=HttpProtocol,
            ws="none",
            log_config=None,
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            proxy_headers=False,  # no header may make a stranger look like loopback
        )
        super().__init__(settings)
        self.server_state = DatedState(settings)
        self._manager, self._library = state.manager, state.library
        self._loop: asyncio.AbstractEventLoop | None = None
        self._exit_requested = asyncio.Event()

    async def main_loop(self) -> None:
        """Wait for a signal. Uvicorn's own loop looks ten times a second whether there was one."""
        self._loop = asyncio.get_running_loop()
        gc.freeze()  # what was imported stays: each full collection would stop everything to walk it
        await self._warn_of_unusable_settings()
        measurement = MemoryMeasurement(self._manager.planning, self._is_quiet)
        async with Preloading(self._manager, self._library).at_work(), measurement.at_work():
            if not self.should_exit:
                await self._exit_requested.wait()

    def _is_quiet(self) -> bool:
        """Whether no request is in flight, and no engine loads."""
        return not (self.server_state.tasks or any(loaded.leases for loaded in self._manager.loaded))

    async def _warn_of_unusable_settings(self) -> None:
        for name in self._manager.config.named_models:
            try:
                await self._library.find(name, may_use_paths=True)
            except OprelError as error:
                logger.warning("`models` has settings for a model that cannot be loaded: %s", error)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        logger.info("shutting down: answers may take another %s", self._manager.config.drain_timeout)
        deadline = time.monotonic() + self._manager.config.drain_timeout_seconds
        self._silence_unix((sockets or [])[0])
        try:
            await asyncio.wait_for(self._manager.drain(), self._manager.config.drain_timeout_seconds)
        except TimeoutError:
            logger.warning("shutting down: breaking off the answers that took longer")
        self.config.timeout_graceful_shutdown = max(0, math.ceil(deadline - time.monotonic()))
        await super().shutdown(sockets)

    def _silence_unix(self, listener: socket.socket) -> None:
        self.servers[0].close()
        listener.close()
        for connection in list(self.server_state.connections):
            if getattr(connection, "client", "") is None:  # over the Unix socket
                connection.shutdown()  # a busy one ends with its answer

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            self._end_at_once(sig)
        super().handle_exit(sig, frame)
        if self._loop:
            self._loop.call_soon_threadsafe(self._exit_requested.set)

    def _end_at_once(self, number: int) -> None:
        logger.warning("a second signal: ending at once")
        self._manager.kill()
        records.reconcile(self._manager.config.run_dir)
        os._exit(128 + number)


class DatedState(ServerState):
    """Makes the headers of all answers when a request arrives, at most once a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        self._config = config
        self._second, self._headers = 0, list[tuple[bytes, bytes]]()
        super().__init__()

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        second = int(time.time())
        if second != self._second:
            date = (b"date", formatdate(second, usegmt=True).encode())
            self._second, self._headers = second, [date, *self._config.encoded_headers]
        return self._headers

    @default_headers.setter
    def default_headers(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Uvicorn's constructor has none to set yet."""


@contextlib.contextmanager
def _only_daemon(config: Config) -> Iterator[None]:
    """Hold the home's lock. The kernel releases it however this process ends.

    Waits for a daemon that holds the lock but no longer listens, because it is about to end. Raises ConfigError.
    """
    descriptor = os.open(config.run_dir / "daemon.lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + config.drain_timeout_seconds + STOP_SECONDS
    while not locked(descriptor):
        if listens(config.socket_path) or time.monotonic() > deadline:
            pid = os.pread(descriptor, 32, 0).decode() or "unknown"
            raise ConfigError(
                f"a daemon already runs for {config.home_dir} (pid {pid})",
                "Use that one, stop it with `oprel stop --daemon`, or start this one with another --home.",
            )
        time.sleep(0.05)
    # Write, then truncate: `oprel stop` may read the file at any time, and must never find it empty.
    os.ftruncate(descriptor, os.pwrite(descriptor, str(os.getpid()).encode(), 0))
    try:
        yield
    finally:
        os.close(descriptor)


def _tcp_socket(config: Config) -> socket.socket:
    host, port = config.server_host, config.server_port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        step = "Check --server-host."
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            step = "Choose another port with --server-port or OPREL_SERVER_PORT (0 = any free one)."
        if error.errno == errno.EADDRINUSE and port == OLLAMA_PORT:
            step = "Is Ollama running? Stop it, or choose another port with --server-port."
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}", step) from error
    return listener


def _unix_socket(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(BACKLOG)
    return listener
