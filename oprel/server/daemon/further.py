"""What the daemon listens on besides its own socket and port: the setting `listen`, and sockets of systemd."""

import contextlib
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from oprel.core.config import Config
from oprel.core.exceptions import ConfigError
from oprel.core.home import own_pipe
from oprel.server.daemon.listeners import unix_socket
from oprel.utils.files import listens
from oprel.utils.process import systems
from oprel.utils.process.pipes import PipeListener, system_pipes

FIRST_PASSED = 3  # the first descriptor that systemd passes: sd_listen_fds(3)
INTERNET = (socket.AF_INET, socket.AF_INET6)
ADVICE = "Write `listen` as unix:/PATH, unix:/PATH?mode=0660&group=NAME or pipe:NAME, comma-separated."


@dataclass(frozen=True)
class SharedSocket:
    """A Unix socket for other programs. `mode` and `group` say whose; "" is the daemon's own group."""

    path: Path
    mode: int = 0o600
    group: str = ""

    @classmethod
    def parse(cls, text: str) -> "SharedSocket":
        """
        >>> shared = SharedSocket.parse("/run/oprel/api.sock?mode=0660&group=llm")
        >>> str(shared.path), oct(shared.mode), shared.group
        ('/run/oprel/api.sock', '0o660', 'llm')
        """
        path, _, options = text.partition("?")
        given = dict(parse_qsl(options, keep_blank_values=True, strict_parsing=bool(options)))
        mode, group = int(given.pop("mode", "0600"), 8), given.pop("group", "")
        if given or not os.path.isabs(path) or not 0 <= mode <= 0o777:
            raise ValueError(text)
        return cls(Path(path), mode, group)

    def open(self) -> socket.socket:
        """Raises ConfigError, also where something else is at the path."""
        try:
            if os.path.lexists(self.path) and not stat.S_ISSOCK(self.path.lstat().st_mode):
                raise ConfigError(f"cannot listen on {self.path}: it is no socket", "Choose another path in `listen`.")
            if listens(self.path):
                raise ConfigError(f"another program listens on {self.path}", "Choose another path in `listen`.")
            return unix_socket(self.path, mode=self.mode, group=self.group)
        except KeyError as error:
            raise ConfigError(f"cannot listen on {self.path}: there is no group {self.group}", ADVICE) from error
        except OSError as error:
            step = f"The folder {self.path.parent} has to exist, and to be writable for the daemon."
            if self.group:
                step += f" Only members of the group {self.group} and root may give files to it."
            raise ConfigError(f"cannot listen on {self.path}: {error.strerror or error}", step) from error


@dataclass(frozen=True, kw_only=True)
class FurtherListeners:
    """`tcp` are those of systemd, which replace the daemon's own; `own` is its for the home's socket, if it has one."""

    addresses: tuple[str, ...]  # of `sockets` and `pipes`
    sockets: tuple[socket.socket, ...]
    pipes: tuple[tuple[str, PipeListener], ...]
    tcp: tuple[socket.socket, ...]
    own: socket.socket | None


@contextlib.contextmanager
def further_listeners(config: Config, variables: Mapping[str, str]) -> Iterator[FurtherListeners]:
    """Listeners for the block; `variables` are those of the service manager. Raises ConfigError."""
    shared, names = _addresses(config)
    if not systems.HAS_UNIX_SOCKETS:
        names.append(own_pipe(config))
    with contextlib.ExitStack() as at_end:
        passed = [at_end.enter_context(listener) for listener in passed_sockets(variables)]
        tcp = [listener for listener in passed if listener.family in INTERNET]
        local = {f"unix:{listener.getsockname()}": listener for listener in passed if listener not in tcp}
        own = local.pop(f"unix:{config.socket_path}", None)
        for address in shared:
            local[f"unix:{address.path}"] = at_end.enter_context(address.open())
            at_end.callback(_remove, address.path, address.path.stat())
        pipes = list[tuple[str, PipeListener]]()
        for name in names:
            pipes.append((name, _pipe(name)))
            at_end.callback(pipes[-1][1].close)
        yield FurtherListeners(
            addresses=(*local, *(f"pipe:{name}" for name in names)),
            sockets=tuple(local.values()),
            pipes=tuple(pipes),
            tcp=tuple(tcp),
            own=own,
        )


def passed_sockets(variables: Mapping[str, str]) -> list[socket.socket]:
    """The sockets on which systemd listened before it started this process: sd_listen_fds(3)."""
    count = variables.get("LISTEN_FDS", "")
    if variables.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal():
        return []
    passed = [socket.socket(fileno=FIRST_PASSED + number) for number in range(int(count))]
    for listener in passed:
        listener.set_inheritable(False)
    return passed


def _addresses(config: Config) -> tuple[list[SharedSocket], list[str]]:
    """The sockets and the names of pipes in the setting `listen`. Raises ConfigError."""
    sockets, pipes = list[SharedSocket](), list[str]()
    for text in config.further_addresses:
        scheme, _, target = text.partition(":")
        try:
            if scheme == "unix":
                sockets.append(SharedSocket.parse(target))
            elif scheme == "pipe" and target:
                pipes.append(target)
            else:
                raise ValueError(text)
        except ValueError as error:
            raise ConfigError(f"listen: {text!r} is no address", ADVICE) from error
    return sockets, pipes


def _pipe(name: str) -> PipeListener:
    try:
        return system_pipes().listen(name)
    except OSError as error:
        raise ConfigError(f"cannot listen on pipe:{name}: {error.strerror or error}", ADVICE) from error


def _remove(path: Path, made: os.stat_result) -> None:
    """Remove our socket, if it is still the one at the path."""
    with contextlib.suppress(OSError):
        if os.path.samestat(made, path.stat()):
            path.unlink()
