"""The daemon's process, one per OPREL_HOME. It listens on TCP and on a Unix socket."""

import asyncio
import contextlib
import errno
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from email.utils import formatdate
from functools import partial
from pathlib import Path
from types import FrameType

import uvicorn
from uvicorn.server import ServerState

from oprel import __version__
from oprel.core.config import Config, service_variables
from oprel.core.configuration.given import Given
from oprel.core.configuration.ollama_env import PORT as OLLAMA_PORT
from oprel.core.configuration.published import DaemonStart, publish, withdraw
from oprel.core.exceptions import ConfigError, OprelError
from oprel.core.home import prepare_home
from oprel.runtime.binaries.engine_binaries import EngineBinaries, check_configured
from oprel.runtime.supervisor import records
from oprel.server.api.common.app_state import AppState
from oprel.server.api.guard import is_loopback
from oprel.server.api.http_protocol import HttpProtocol
from oprel.server.api.request_limits import raise_file_limit
from oprel.server.app import assemble, create_app
from oprel.server.daemon.log_file import DaemonLog
from oprel.server.daemon.service_manager import ServiceManager
from oprel.server.pool.memory_measurement import MemoryMeasurement
from oprel.server.preloading import Preloading
from oprel.utils.files import listens, locked, port_owner
from oprel.utils.logging import setup_logging
from oprel.utils.process.observed_time import ObservedTime

logger = logging.getLogger(__name__)

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75  # of idle connections; longer than in clients (httpx: 5), or both might close at once
STOP_SECONDS = 15  # for a daemon to stop its engines after its last answer
NEXT_PORTS = 20  # that are tried where another user has the default one


def serve(start: DaemonStart, read: Callable[[], Given], notes: Sequence[str] = ()) -> None:
    """Run until SIGINT or SIGTERM. Logs `notes` first. `read` reads the settings again, as SIGHUP requests.

    SIGHUP means that instead where no terminal of this process could have been closed.

    Raises ConfigError for an unusable home, a port in use or a second daemon.
    """
    config = start.config
    ends_at_hangup = _ends_at_hangup()
    if not ends_at_hangup:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the settings have just been read
    os.umask(0o077)  # whatever this daemon and its engines write is for its user alone
    setup_logging(config.log_level, DaemonLog(config.logs_dir / "daemon.log"))
    for note in notes:
        logger.warning("%s", note)
    prepare_home(config)
    raise_file_limit()
    check_configured(config)
    with _only_daemon(config):
        records.reconcile(config.run_dir)
        tcp = _tcp_socket(config)
        address = _url(tcp)
        publish(start, __version__, address)  # before a client can connect
        unix = _unix_socket(config.socket_path)
        state = assemble(config, EngineBinaries.of(config), config.run_dir, given=start.given)
        logger.info("oprel listens on %s and unix:%s (pid %s)", address, config.socket_path, os.getpid())
        if not is_loopback(config.server_host):
            logger.warning("%s reaches other machines, and oprel has no keys: see docs/security.md", address)
        for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises the signal again at the end: exit with 0
            signal.signal(number, lambda *_: sys.exit(0))
        server = DaemonServer(state, ServiceManager(service_variables()), address)
        hung_up = server.hang_up if ends_at_hangup else partial(server.request_reload, start, read)
        signal.signal(signal.SIGHUP, lambda *_: hung_up())
        try:
            server.run(sockets=[unix, tcp])
        finally:
            config.socket_path.unlink(missing_ok=True)
            withdraw(config)


class DaemonServer(uvicorn.Server):
    """Shuts down in two steps: it finishes the answers and refuses new requests over TCP, then closes the connections.

    It closes the Unix socket first, so that oprel's own clients start the next daemon, which waits for the lock. A
    second signal ends everything at once.
    """

    def __init__(self, state: AppState, service: ServiceManager, address: str = "") -> None:
        settings = uvicorn.Config(
            create_app(state),
            http=partial(HttpProtocol, clock=state.manager.clock),  # type: ignore[arg-type]  # uvicorn calls it
            ws="none",
            log_config=None,
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            proxy_headers=False,  # no header may make a stranger look like loopback
        )
        super().__init__(settings)
        self.server_state = DatedState(settings)
        self._manager, self._library = state.manager, state.library
        self._service, self._address = service, address
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drain_left = 0.0  # s for requests without an engine
        self._exit_requested = asyncio.Event()

    async def main_loop(self) -> None:
        """Wait for a signal. Uvicorn's own loop looks ten times a second whether there was one."""
        self._loop = asyncio.get_running_loop()
        gc.freeze()  # what was imported stays: each full collection would stop everything to walk it
        await self._warn_of_unusable_settings()
        measurement = MemoryMeasurement(self._manager.planning, self._is_quiet)
        self._service.ready(self._status())
        observed = self._manager.observed(lambda: self._service.status(self._status()))
        with self._service.watched(), observed, self._manager.clock.observed(_log_gap):
            async with Preloading(self._manager, self._library).at_work(), measurement.at_work():
                if not self.should_exit:
                    await self._exit_requested.wait()

    def _status(self) -> str:
        """One line for the service manager."""
        names = ", ".join(sorted({loaded.latest.name for loaded in self._manager.loaded}))
        return f"listening on {self._address}; {f'loaded: {names}' if names else 'no model is loaded'}"

    def request_reload(self, start: DaemonStart, read: Callable[[], Given]) -> None:
        """For a signal handler: the event loop does it."""
        if self._loop:
            self._loop.call_soon_threadsafe(self._reload, start, read)

    def _reload(self, start: DaemonStart, read: Callable[[], Given]) -> None:
        from oprel.server.daemon.reload import reload  # imported late: most daemons are never asked to

        self._service.reloading()
        reload(start, read)
        self._service.ready(self._status())

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
        self._service.stopping(self._manager.config.drain_timeout_seconds + STOP_SECONDS)
        self._silence_unix((sockets or [])[0])
        with self._manager.clock.watched():
            deadline = self._manager.clock() + self._manager.config.drain_timeout_seconds
            try:
                async with self._manager.clock.timeout(self._manager.config.drain_timeout_seconds):
                    await self._manager.drain()
            except TimeoutError:
                logger.warning("shutting down: breaking off the answers that took longer")
            self._drain_left = max(0.0, deadline - self._manager.clock())
        await super().shutdown(sockets)

    async def _wait_tasks_to_complete(self) -> None:
        """Uvicorn breaks off what is left after a TimeoutError. A limit of its own would count gaps."""
        async with self._manager.clock.timeout(self._drain_left):
            await super()._wait_tasks_to_complete()

    def _silence_unix(self, listener: socket.socket) -> None:
        self.servers[0].close()
        listener.close()
        for connection in list(self.server_state.connections):
            if getattr(connection, "client", "") is None:  # over the Unix socket
                connection.shutdown()  # a busy one ends with its answer

    def hang_up(self) -> None:
        """For a signal handler: the terminal was closed. The kernel says so, then the shell; both mean one signal."""
        if not self.should_exit:
            self.handle_exit(signal.SIGTERM, None)

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


def _log_gap(seconds: float) -> None:
    logger.info("nothing could run for %.0f s, as after a suspend: that time does not count", seconds)


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


def _ends_at_hangup() -> bool:
    """Whether SIGHUP means that this process's terminal was closed; not for one that `nohup` lets outlive it."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return False
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:  # there is no controlling terminal
        return False
    return True


@contextlib.contextmanager
def _only_daemon(config: Config) -> Iterator[None]:
    """Hold the home's lock. The kernel releases it however this process ends.

    Waits for a daemon that holds the lock but no longer listens, because it is about to end. Raises ConfigError.
    """
    descriptor = os.open(config.run_dir / "daemon.lock", os.O_RDWR | os.O_CREAT, 0o600)
    now = ObservedTime()
    deadline = now() + config.drain_timeout_seconds + STOP_SECONDS
    while not locked(descriptor):
        if listens(config.socket_path) or now() > deadline:
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
    """Where another user has the default port, the next free one. Raises ConfigError."""
    host, port = config.server_host, config.server_port
    try:
        return _listener(host, port)
    except OSError as error:
        owner = port_owner(port) if error.errno == errno.EADDRINUSE and port == Config.server_port else None
        if owner not in (None, os.getuid()) and (listener := _next_listener(host, port)):
            other = listener.getsockname()[1]
            logger.warning("port %s belongs to another user (user ID %s): listening on %s instead", port, owner, other)
            return listener
        step = "Check --server-host."
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            step = "Choose another port with --server-port or OPREL_SERVER_PORT (0 = any free one)."
        if error.errno == errno.EADDRINUSE and port == OLLAMA_PORT:
            step = "Is Ollama running? Stop it, or choose another port with --server-port."
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}", step) from error


def _listener(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}"


def _next_listener(host: str, port: int) -> socket.socket | None:
    """A listener on one of the next ports, so that a user finds it there again, else on any free one."""
    for other in (*range(port + 1, port + 1 + NEXT_PORTS), 0):
        with contextlib.suppress(OSError):
            return _listener(host, other)
    return None


def _unix_socket(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(BACKLOG)
    return listener
