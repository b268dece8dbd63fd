"""Serves the clients of a named pipe, beside uvicorn's servers of sockets."""

import asyncio
import logging
from collections.abc import Callable

from oprel.utils.process.pipes import PipeListener

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.1  # after a client that could not be connected


class PipeServer:
    """Accepts clients until it is closed; each gets a new protocol. Closes as asyncio's servers do."""

    def __init__(self, name: str, listener: PipeListener, new_protocol: Callable[[], asyncio.Protocol]) -> None:
        self._name = name
        self._listener = listener
        self._new_protocol = new_protocol
        self._accepting = asyncio.create_task(self._accept(), name=f"pipe {name}")

    def close(self) -> None:
        self._accepting.cancel()
        self._listener.close()

    async def wait_closed(self) -> None:
        await asyncio.wait({self._accepting})

    async def _accept(self) -> None:
        while True:
            try:
                await self._listener.accept(self._new_protocol)
            except OSError as error:
                logger.warning("a client of pipe:%s could not be connected: %s", self._name, error)
                await asyncio.sleep(RETRY_SECONDS)
