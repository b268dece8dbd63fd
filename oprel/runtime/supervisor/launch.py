"""How to start an engine and connect to it, as data for the supervisor."""

from collections.abc import Callable
from dataclasses import dataclass, field

from oprel.runtime.http import EngineHttp, EngineTransport, SocketTransport
from oprel.runtime.supervisor.child import RunDir


def untranslated(transport: EngineTransport, on_death: Callable[[str], None]) -> EngineTransport:
    return transport


def unwrapped(program: tuple[str, ...]) -> list[str]:
    return list(program)


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How to start an engine and connect to it.

    `arguments` makes the arguments for a program that has the given flags; `runner` wraps the program's command. The
    engine listens on the socket of `run_dir`, or on the loopback `port`, where it requires the `key`. `translator`
    translates for an engine of another dialect, and calls its second argument when the engine reports that it is dead.
    """

    label: str
    run_dir: RunDir
    arguments: Callable[[frozenset[str]], list[str]]
    load_timeout: float  # s without a new log line, disk reads or new memory
    stall_timeout: float = 30.0  # s without progress after which a busy engine may be killed, at the earliest
    runner: Callable[[tuple[str, ...]], list[str]] = unwrapped
    health_path: str = "/health"
    translator: Callable[[EngineTransport, Callable[[str], None]], EngineTransport] = untranslated
    port: int = 0
    key: str = field(default="", repr=False)
    uses_gpu: bool = False
    rests: bool = False  # it uses no CPU time without work

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}" if self.port else f"unix:{self.run_dir.socket}"

    def client(self, on_death: Callable[[str], None], on_socket_lost: Callable[[], None]) -> EngineHttp:
        """A client of the engine. `on_socket_lost` is called where its socket has no file any more."""
        engine = SocketTransport(self.run_dir.socket, self.port, self.key, on_socket_lost)
        return EngineHttp(self.translator(engine, on_death))
