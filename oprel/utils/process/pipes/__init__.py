"""Named pipes, by which programs of one machine talk where there are no Unix sockets. `_windows` has the real ones.

Their ends have the methods of sockets that clients need, so that the rest of oprel is the same for both.
"""

import errno
import sys
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from _typeshed import ReadableBuffer, WriteableBuffer


class PipeEnd(Protocol):
    """A client's end. What takes longer than the timeout raises TimeoutError; `shutdown` ends what waits."""

    def settimeout(self, value: float | None, /) -> None: ...
    def recv_into(self, buffer: "WriteableBuffer", /) -> int: ...
    def send(self, data: "ReadableBuffer", /) -> int: ...
    def shutdown(self, how: int, /) -> None: ...
    def close(self) -> None: ...


class PipeListener(Protocol):
    """A server's name, which only programs of the same user of this machine reach."""

    async def accept(self, new_protocol: "Callable[[], asyncio.Protocol]") -> None:
        """Wait for a client, and connect it with a new protocol. Raises OSError."""

    def close(self) -> None: ...


class Pipes(Protocol):
    def connect(self, name: str, seconds: float | None) -> PipeEnd:
        """A connection to the server of that name, whose operations may take so long. Raises OSError."""

    def listen(self, name: str) -> PipeListener:
        """Raises OSError, also where another program has the name."""


_installed: list[Pipes] = []


def install(pipes: Pipes) -> None:
    """Use these pipes from now on: for tests, where a system has none."""
    _installed[:] = [pipes]


def system_pipes() -> Pipes:
    """Raises OSError on systems without pipes."""
    if _installed:
        return _installed[0]
    if sys.platform == "win32":
        from oprel.utils.process.pipes._windows import WindowsPipes

        install(WindowsPipes())
        return _installed[0]
    raise OSError(errno.EOPNOTSUPP, "this system has no named pipes: use unix:/PATH")
