"""How an engine is started and talked to, as data for its supervision."""

from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from oprel.runtime.supervisor.child import RunDir

# A connection for each request: llama-server closes 1 in 50 of its kept-alive ones at the moment they are used again
# (b11549, 8 of 300), and over a Unix socket a new one costs no measurable time (medians of 1.1 and 1.2 ms).
ONE_REQUEST_EACH = httpx.Limits(max_connections=None, max_keepalive_connections=0)

Transport = httpx.AsyncBaseTransport


def itself(transport: Transport, on_death: Callable[[str], None]) -> Transport:
    return transport


def alone(program: tuple[str, ...]) -> list[str]:
    return list(program)


@dataclass(frozen=True)
class Launch:
    """How to start an engine and talk to it.

    `arguments` follow a program that knows `flags`; `runner` makes a program's command what is run. It listens in its
    place, on the Unix socket, or on the loopback `port` for who has the `key`. `translator` stands between the daemon
    and an engine of another dialect, and is given what to tell when the engine says that it has died.
    """

    label: str
    place: RunDir
    arguments: Callable[[frozenset[str]], list[str]]
    load_timeout: float  # s without a new log line, and without anything read or filled
    stall_timeout: float = 30.0  # s for which a busy engine may show no progress, at least
    runner: Callable[[tuple[str, ...]], list[str]] = alone
    health_path: str = "/health"
    translator: Callable[[Transport, Callable[[str], None]], Transport] = itself
    port: int = 0
    key: str = field(default="", repr=False)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}" if self.port else f"unix:{self.place.socket}"

    def client(self, on_death: Callable[[str], None]) -> httpx.AsyncClient:
        """Decoding has no time limit, and a request waits in the engine for its slot: only connecting is bounded."""
        # Without `verify=False` httpx loads the certificates of the world, which blocks the loop for 25 ms.
        socket = None if self.port else str(self.place.socket)
        engine = httpx.AsyncHTTPTransport(uds=socket, limits=ONE_REQUEST_EACH, verify=False)
        return httpx.AsyncClient(
            transport=self.translator(engine, on_death),
            base_url=f"http://127.0.0.1:{self.port}" if self.port else "http://engine",
            headers={"Authorization": f"Bearer {self.key}"} if self.key else None,
            timeout=httpx.Timeout(None, connect=10.0),
        )
