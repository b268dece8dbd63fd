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
from typing import TYPE_CHECKING

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
from oprel.server.daemon.further import further_listeners
from oprel.server.daemon.garbage import ModuleFreezer
from oprel.server.daemon.healing import heal_home
from oprel.server.daemon.home_lock import HomeLock
from oprel.server.daemon.listeners import BACKLOG, listen
from oprel.server.daemon.log_file import DaemonLog
from oprel.server.daemon.pipe_server import PipeServer
from oprel.server.daemon.run_files import RunFiles
from oprel.server.daemon.service_manager import ServiceManager
from oprel.server.history.request_log import request_log
from oprel.server.pool.memory_measurement import MemoryMeasurement
from oprel.server.preloading import Preloading
from oprel.utils.files import listens
from oprel.utils.logging import setup_logging
from oprel.utils.process import systems
from oprel.utils.process.observed_time import ObservedTime
from oprel.utils.process.pipes import PipeListener

if TYPE_CHECKING:
    from oprel.server.daemon.tls.certificates import Certificates

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
    if systems.HANGUP and not ends_at_hangup:
        signal.signal(systems.HANGUP, signal.SIG_IGN)  # the settings have just been read
    os.umask(0o077)  # whatever this daemon and its engines write is for its user alone
    setup_logging(config.log_level, DaemonLog(config.logs_dir / "daemon.log"))
    for note in notes:
        logger.warning("%s", note)
    prepare_home(config)
    raise_file_limit()
    check_configured(config)
    run_files = RunFiles(start)
    service = service_variables()
    with _only_daemon(config, run_files.lock), further_listeners(config, service) as further:
        control_groups.settle()
        records.reconcile(config.run_dir, keep=config.socket_path if further.own else None)
        heal_home(config)
        parse_proxies(config.trusted_proxies)
        certificates = _certificates(config)
        tcp = listen(config, with_tls=certificates is not None, passed=further.tcp)
        log = request_log(config)
        state = assemble(config, EngineBinaries.of(config), config.run_dir, given=start.given, request_log=log)
        hosts = [str(each.getsockname()[0]) for each in tcp.all]
        exposed = check_listening(hosts, config, has_keys=state.keys.has_any())
        unix = run_files.make(certificates.pinned(tcp.urls[-1]) if certificates else tcp.urls[0], further.own)
        _log_addresses(tcp.urls, [*([f"unix:{config.socket_path}"] if unix else []), *further.addresses], exposed)
        if certificates:
            certificates.log()
        for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises the signal again at the end: exit with 0
            signal.signal(number, lambda *_: sys.exit(0))
        server = DaemonServer(state, ServiceManager(service), tcp.urls[0], run_files, further.pipes)
        if certificates:
            server.secure(tcp.secure, certificates)
        hung_up = server.hang_up if ends_at_hangup else partial(server.request_reload, start, read)
        if systems.HANGUP:
            signal.signal(systems.HANGUP, lambda *_: hung_up())
        try:
            server.run(sockets=[*([unix] if unix else []), *further.sockets, *tcp.all])
        finally:
            run_files.remove()


def _log_addresses(urls: Sequence[str], local: Sequence[str], exposed: str) -> None:
    """`exposed` warns of what other machines may do; "" if they may do nothing without a key."""
    logger.info("oprel listens on %s and %s (pid %s)", ", ".join(urls), ", ".join(local), os.getpid())
    if exposed:
        logger.warning("%s", exposed)


class DaemonServer(uvicorn.Server):
    """Shuts down in two steps: it finishes the answers and refuses new requests over TCP, then closes the connections.

    It closes the Unix socket first, so that oprel's own clients start the next daemon, which waits for the lock. A
    second signal ends everything at once.
    """

    def __init__(
        self,
        state: AppState,
        service: ServiceManager,
        address: str = "",
        run_files: RunFiles | None = None,
        pipes: Sequence[tuple[str, PipeListener]] = (),
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
        self._secure: list[socket.socket] = []  # those of `_sockets` that speak TLS
        self._certificates: Certificates | None = None
        self._pipes, self._pipe_servers = pipes, list[PipeServer]()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drain_left = 0.0  # s for requests without an engine
        self._exit_requested = asyncio.Event()

    def secure(self, listeners: list[socket.socket], certificates: "Certificates") -> None:
        """Speak TLS on these sockets of those that the server will run with."""
        self._secure, self._certificates = listeners, certificates

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
                if self._certificates:
                    await at_work.enter_async_context(self._certificates.kept())
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
        if self._certificates:
            self._certificates.refresh()
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
        await super().startup([listener for listener in self._sockets if listener not in self._secure])
        loop = asyncio.get_running_loop()
        for listener in self._secure:
            self.servers.append(await loop.create_server(self._new_secure_protocol, sock=listener, backlog=BACKLOG))
        self._pipe_servers = [PipeServer(name, listener, self._new_protocol) for name, listener in self._pipes]
        self.servers += self._pipe_servers  # type: ignore[arg-type]  # uvicorn closes them, and waits for their end

    def _new_protocol(self) -> asyncio.Protocol:
        """As in uvicorn's startup."""
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    def _new_secure_protocol(self) -> asyncio.Protocol:
        assert self._certificates
        return self._certificates.secured(self._new_protocol())

    async def _listen_on(self, unix: socket.socket) -> None:
        """Listen on another Unix socket in place of the first one, whose file is gone. Its connections stay."""
        server = await asyncio.get_running_loop().create_server(self._new_protocol, sock=unix, backlog=BACKLOG)
        self.servers[0].close()
        self._sockets[0].close()
        self.servers[0], self._sockets[0] = server, unix

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        logger.info("shutting down: answers may take another %s", self._manager.config.drain_timeout)
        self._service.stopping(self._manager.config.drain_timeout_seconds + STOP_SECONDS)
        self._silence_local((sockets or [])[0])
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

    def _silence_local(self, first: socket.socket) -> None:
        """Close where oprel's own clients connect. `first` is the home's socket, where there are any."""
        for server in self._pipe_servers:
            server.close()
        if systems.HAS_UNIX_SOCKETS:
            self.servers[0].close()
            first.close()
        for connection in list(self.server_state.connections):
            if getattr(connection, "client", "") is None:  # over a Unix socket or a pipe
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
        config, run_files = self._manager.config, self._run_files
        records.reconcile(config.run_dir, keep=config.socket_path if run_files and run_files.is_given else None)
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


def _certificates(config: Config) -> "Certificates | None":
    """Of the HTTPS port; None where there is none. Raises ConfigError."""
    if not (config.tls_certificate or config.tls_self_signed == "on"):
        if config.tls_key or config.tls_port:
            raise ConfigError("tls_key and tls_port need a certificate", "Set tls_certificate, or tls_self_signed.")
        return None
    from oprel.server.daemon.tls.certificates import Certificates  # imported late: most daemons speak plain HTTP

    return Certificates.of(config)


def _ends_at_hangup() -> bool:
    """Whether SIGHUP means that this process's terminal was closed; not for one that `nohup` lets outlive it."""
    if sys.platform == "win32" or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
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
