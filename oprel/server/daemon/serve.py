"""The daemon's process, one per OPREL_HOME. It listens on TCP and on a Unix socket."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from email.utils import formatdate
from functools import partial
from types import FrameType

import uvicorn
from uvicorn.server import ServerState

from oprel.core.config import Config
from oprel.core.configuration.addresses import parse_proxies
from oprel.core.configuration.environment import service_variables
from oprel.core.configuration.given import Given
from oprel.core.configuration.published import DaemonStart
from oprel.core.exceptions import ConfigError, OprelError
from oprel.core.home import prepare_home
from oprel.runtime.binaries.engine_binaries import EngineBinaries, check_configured
from oprel.runtime.confinement import control_groups
from oprel.runtime.supervisor import records
from oprel.server.access.listening import check_listening
from oprel.server.api.common.app_state import AppState
from oprel.server.api.connections.http_protocol import HttpProtocol
from oprel.server.api.connections.request_limits import raise_file_limit
from oprel.server.app import assemble, create_app
from oprel.server.daemon.garbage import ModuleFreezer
from oprel.server.daemon.healing import heal_home
from oprel.server.daemon.home_lock import HomeLock
from oprel.server.daemon.listeners import BACKLOG, tcp_sockets, urls_of
from oprel.server.daemon.log_file import DaemonLog
from oprel.server.daemon.run_files import RunFiles
from oprel.server.daemon.service_manager import ServiceManager
from oprel.server.pool.memory_measurement import MemoryMeasurement
from oprel.server.preloading import Preloading
from oprel.utils.files import listens
from oprel.utils.logging import setup_logging
from oprel.utils.process.observed_time import ObservedTime

logger = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 75  # of idle connections; longer than in clients (httpx: 5), or both might close at once
STOP_SECONDS = 15  # for a daemon to stop its engines after its last answer


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
    run_files = RunFiles(start)
    with _only_daemon(config, run_files.lock):
        control_groups.settle()
        records.reconcile(config.run_dir)
        heal_home(config)
        parse_proxies(config.trusted_proxies)
        tcp = tcp_sockets(config)
        exposed = check_listening([str(each.getsockname()[0]) for each in tcp], config, has_keys=False)
        addresses = urls_of(tcp)
        unix = run_files.make(addresses[0])
        state = assemble(config, EngineBinaries.of(config), config.run_dir, given=start.given)
        listening = ", ".join(addresses)
        logger.info("oprel listens on %s and unix:%s (pid %s)", listening, config.socket_path, os.getpid())
        if exposed:
            logger.warning("%s", exposed)
        for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises the signal again at the end: exit with 0
            signal.signal(number, lambda *_: sys.exit(0))
        server = DaemonServer(state, ServiceManager(service_variables()), addresses[0], run_files)
        hung_up = server.hang_up if ends_at_hangup else partial(server.request_reload, start, read)
        signal.signal(signal.SIGHUP, lambda *_: hung_up())
        try:
            server.run(sockets=[unix, *tcp])
        finally:
            run_files.remove()


class DaemonServer(uvicorn.Server):
    """Shuts down in two steps: it finishes the answers and refuses new requests over TCP, then closes the connections.

    It closes the Unix socket first, so that oprel's own clients start the next daemon, which waits for the lock. A
    second signal ends everything at once.
    """

    def __init__(
        self, state: AppState, service: ServiceManager, address: str = "", run_files: RunFiles | None = None
    ) -> None:
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
        self._run_files = run_files
        self._sockets: list[socket.socket] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drain_left = 0.0  # s for requests without an engine
        self._exit_requested = asyncio.Event()

    async def main_loop(self) -> None:
        """Wait for a signal. Uvicorn's own loop looks ten times a second whether there was one."""
        self._loop = asyncio.get_running_loop()
        ModuleFreezer().install()
        await self._warn_of_unusable_settings()
        measurement = MemoryMeasurement(self._manager.planning, self._is_quiet)
        self._service.ready(self._status())
        observed = self._manager.observed(lambda: self._service.status(self._status()))
        with self._service.watched(), observed, self._manager.clock.observed(_log_gap):
            async with contextlib.AsyncExitStack() as at_work:
                await at_work.enter_async_context(Preloading(self._manager, self._library).at_work())
                await at_work.enter_async_context(measurement.at_work())
                if self._run_files:
                    await at_work.enter_async_context(self._run_files.kept(self._listen_on))
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

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._sockets = sockets or []
        await super().startup(sockets)

    async def _listen_on(self, unix: socket.socket) -> None:
        """Listen on another Unix socket in place of the first one, whose file is gone. Its connections stay."""
        # As in uvicorn's startup.
        protocol = partial(
            HttpProtocol,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        server = await asyncio.get_running_loop().create_server(protocol, sock=unix, backlog=BACKLOG)
        self.servers[0].close()
        self._sockets[0].close()
        self.servers[0], self._sockets[0] = server, unix

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
def _only_daemon(config: Config, lock: HomeLock) -> Iterator[None]:
    """Hold the home's lock. Waits for a daemon that has it but no longer listens, because it is about to end.

    Raises ConfigError.
    """
    now = ObservedTime()
    deadline = now() + config.drain_timeout_seconds + STOP_SECONDS
    while not lock.take():
        if listens(config.socket_path) or now() > deadline:
            raise ConfigError(
                f"a daemon already runs for {config.home_dir} (pid {lock.holder})",
                "Use that one, stop it with `oprel stop --daemon`, or start this one with another --home.",
            )
        time.sleep(0.05)
    try:
        yield
    finally:
        lock.release()
