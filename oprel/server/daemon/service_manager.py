"""What the daemon says to systemd, or another service manager that knows the protocol of sd_notify(3)."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

MICROSECONDS = 1_000_000
PINGS = 2  # in the time after which the manager would end a silent daemon, as sd_watchdog_enabled(3) recommends


class ServiceManager:
    """Sends states to the socket in NOTIFY_SOCKET: a path, or `@NAME` in the abstract namespace.

    Does nothing without one. A manager that does not listen is no reason to fail: what cannot be sent is dropped.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        address = variables.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_seconds = _watchdog_seconds(variables)

    @property
    def is_there(self) -> bool:
        return sys.platform != "win32" and self._address.startswith(("/", "\0"))

    def ready(self, status: str) -> None:
        self._send("READY=1", f"STATUS={status}", f"MAINPID={os.getpid()}")

    def reloading(self) -> None:
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=reading the settings")

    def stopping(self, seconds: float) -> None:
        """`seconds`: how long it may take."""
        self._send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(seconds * MICROSECONDS)}", "STATUS=letting answers finish")

    def status(self, text: str) -> None:
        self._send(f"STATUS={text}")

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Inside the block the event loop shows that it is alive, as often as the manager wants to know."""
        if not (self.is_there and self.watchdog_seconds):
            yield
            return
        loop, interval = asyncio.get_running_loop(), self.watchdog_seconds / PINGS
        timers: list[asyncio.TimerHandle] = []

        def ping() -> None:
            self._send("WATCHDOG=1")
            timers[:] = [loop.call_later(interval, ping)]

        ping()
        try:
            yield
        finally:
            timers[0].cancel()

    def _send(self, *lines: str) -> None:
        if sys.platform == "win32" or not self.is_there:
            return
        message = "\n".join(line.replace("\n", " ") for line in lines)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
            try:
                connection.sendto(message.encode(), socket.MSG_DONTWAIT, self._address)
            except OSError:
                return


def _watchdog_seconds(variables: Mapping[str, str]) -> float:
    """0 without a watchdog, or with one that is meant for another process."""
    microseconds, pid = variables.get("WATCHDOG_USEC", ""), variables.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or (pid and pid != str(os.getpid())):
        return 0.0
    return int(microseconds) / MICROSECONDS
