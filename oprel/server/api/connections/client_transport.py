"""A client's connection: what is written together is sent together, and large requests are read at a pace."""

import asyncio
from typing import Any


class JoiningTransport:
    """A transport that sends together what is written together: the head of an answer, its first bytes, its end.

    Each send takes longer than all else that an answer of a few bytes costs, as it wakes the client. It reads nothing
    while its user wants that, or is held.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._written: list[bytes] = []
        self._is_paused = False
        self._held: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._written:
            self._loop.call_soon(self._send)
        self._written.append(data)

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        written, self._written = self._written, []
        if written and not self._transport.is_closing():
            self._transport.write(b"".join(written))

    def pause_reading(self) -> None:
        self._is_paused = True
        if not self._held:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._is_paused = False
        if not (self._held or self._transport.is_closing()):
            self._transport.resume_reading()

    def hold_reading(self, seconds: float) -> None:
        """Read nothing for that time, and at least until other connections had their turn."""
        if self._held or self._transport.is_closing():
            return
        if not self._is_paused:
            self._transport.pause_reading()
        self._held = self._loop.call_later(seconds, self._release)

    def _release(self) -> None:
        self._held = None
        if not self._is_paused:
            self.resume_reading()


class Intake:
    """The pace at which large requests are read, all of them together: small ones go on beside them."""

    def __init__(self, rate: float) -> None:
        """`rate` in bytes a second."""
        self._rate = rate
        self._free_at = 0.0

    def seconds(self, now: float, size: int) -> float:
        """How long to wait after `size` bytes were read.

        >>> intake = Intake(100)
        >>> intake.seconds(5.0, 50), intake.seconds(5.0, 50), intake.seconds(9.0, 0)
        (0.5, 1.0, 0.0)
        """
        self._free_at = max(now, self._free_at) + size / self._rate
        return self._free_at - now
