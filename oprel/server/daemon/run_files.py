"""The files by which commands find the running daemon: looked at every few seconds, and made again when they are gone.

Cleaners of temporary folders remove what was not changed for days, and users what they do not know.
"""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from oprel import __version__
from oprel.core.configuration.published import DaemonStart, is_published, publish, withdraw
from oprel.core.home import lock_files
from oprel.core.state.damage import clear_the_way
from oprel.server.daemon.home_lock import HomeLock
from oprel.server.daemon.listeners import unix_socket
from oprel.utils.files import listens, make_private
from oprel.utils.process import systems

logger = logging.getLogger(__name__)

INTERVAL = 2.0  # s; clients wait somewhat longer for a socket that is gone


class RunFiles:
    """Owner of the daemon's lock, its Unix socket and the settings that it publishes. `address` is where TCP listens.

    Methods raise OSError.
    """

    def __init__(self, start: DaemonStart) -> None:
        self.lock = HomeLock(lock_files(start.config))
        self._start, self._address = start, ""
        self._config = start.config
        self._socket: os.stat_result | None = None
        self.is_given = False  # the socket, by the service manager
        self._fault = ""

    def make(self, address: str, given: socket.socket | None = None) -> socket.socket | None:
        """Publish the settings, and then listen: returns the listener, None on systems without Unix sockets.

        `given` already listens there for the service manager, to which its file belongs.
        """
        self._address, self.is_given = address, given is not None
        publish(self._start, __version__, address)
        if not systems.HAS_UNIX_SOCKETS:
            return None
        listener = given or unix_socket(self._config.socket_path)
        self._socket = self._config.socket_path.stat()
        return listener

    def remove(self) -> None:
        if self._has_socket() and not self.is_given and systems.HAS_UNIX_SOCKETS:
            self._config.socket_path.unlink(missing_ok=True)
        withdraw(self._config)

    @asynccontextmanager
    async def kept(self, use: Callable[[socket.socket], Awaitable[None]]) -> AsyncIterator[None]:
        """Inside the block what is gone is made again. `use` gets the listener of a new socket."""
        keeping = asyncio.create_task(self._keep(use), name="run files")
        try:
            yield
        finally:
            keeping.cancel()

    async def _keep(self, use: Callable[[socket.socket], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            if await asyncio.to_thread(self._are_whole):  # a disk that hangs holds up no request
                continue
            try:
                if listener := await asyncio.to_thread(self.made_again):
                    await use(listener)
                logger.warning("files in %s were removed, and are made again", self._config.run_dir)
            except OSError as error:
                self._tell_once(f"{error}")

    def made_again(self) -> socket.socket | None:
        """Make what is gone, in place of what is no such file; the listener of the socket, if that was gone too."""
        clear_the_way(self._config)
        make_private(self._config.run_dir)
        if not self.lock.take():
            raise OSError(f"another daemon (pid {self.lock.holder}) has the lock of this home")
        if not is_published(self._config):
            publish(self._start, __version__, self._address)
        if self._has_socket():
            return None
        path = self._config.socket_path
        if listens(path):
            raise OSError(f"another program listens on {path}")
        listener, self.is_given = unix_socket(path), False
        self._socket = path.stat()
        return listener

    def _are_whole(self) -> bool:
        return self._has_socket() and self.lock.is_whole and is_published(self._config)

    def _has_socket(self) -> bool:
        try:
            return not systems.HAS_UNIX_SOCKETS or (
                self._socket is not None and os.path.samestat(self._socket, os.stat(self._config.socket_path))
            )
        except OSError:
            return False

    def _tell_once(self, fault: str) -> None:
        if fault != self._fault:
            self._fault = fault
            logger.error("files in %s are gone, and cannot be made again: %s", self._config.run_dir, fault)
