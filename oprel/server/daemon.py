"""The daemon's process: one per OPREL_HOME, on TCP and its Unix socket at once."""

import contextlib
import errno
import fcntl
import logging
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import uvicorn

from oprel.core.config import Config
from oprel.core.exceptions import ConfigError
from oprel.core.home import prepare_home
from oprel.core.ollama_env import PORT as OLLAMA_PORT
from oprel.runtime.binaries.shelf import Shelf, find_binaries
from oprel.server.app import create_app
from oprel.server.manager import ModelManager
from oprel.utils.files import listens
from oprel.utils.logging import setup_logging

logger = logging.getLogger(__name__)

BACKLOG = 2048
STOP_SECONDS = 15  # for a daemon whose answers are done to stop its engines


def serve(config: Config, notes: Sequence[str] = ()) -> None:
    """Run until SIGINT or SIGTERM. `notes` go into the log.

    Raises ConfigError for an unusable home, a port in use or a second daemon.
    """
    setup_logging(config.log_level)
    for note in notes:
        logger.warning("%s", note)
    prepare_home(config)
    with _only_daemon(config):
        _remove_stale_files(config.run_dir)
        sockets = [_tcp_socket(config), _unix_socket(config.socket_path)]
        manager = ModelManager(config, Shelf(find_binaries(config)), config.run_dir)
        settings = uvicorn.Config(
            create_app(manager),
            log_config=None,
            access_log=False,
            proxy_headers=False,  # no header may make a stranger look like loopback
            timeout_graceful_shutdown=math.ceil(config.drain_timeout_seconds),
        )
        host, port = sockets[0].getsockname()[:2]
        logger.info("oprel listens on http://%s:%s and unix:%s (pid %s)", host, port, config.socket_path, os.getpid())
        for number in (
            signal.SIGINT,
            signal.SIGTERM,
        ):  # uvicorn drains first, then raises the signal again: end in peace
            signal.signal(number, lambda *_: sys.exit(0))
        try:
            uvicorn.Server(settings).run(sockets=sockets)
        finally:
            config.socket_path.unlink(missing_ok=True)


@contextlib.contextmanager
def _only_daemon(config: Config) -> Iterator[None]:
    """Hold the home's lock for life: the kernel lets go of it however this process ends.

    A daemon that holds it but no longer listens is on its way out, and is waited for.
    """
    descriptor = os.open(config.run_dir / "daemon.lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + config.drain_timeout_seconds + STOP_SECONDS
    while not _locked(descriptor):
        if listens(config.socket_path) or time.monotonic() > deadline:
            pid = os.pread(descriptor, 32, 0).decode() or "unknown"
            raise ConfigError(
                f"a daemon already runs for {config.home_dir} (pid {pid})",
                "Use it as it is; or end it with `oprel stop --daemon`; or give this one another --home.",
            )
        time.sleep(0.05)
    # Never empty once it was written: who stops a daemon reads it at any time.
    os.ftruncate(descriptor, os.pwrite(descriptor, str(os.getpid()).encode(), 0))
    try:
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_stale_files(run_dir: Path) -> None:
    """Under the lock every socket and template here is left from a daemon that was killed."""
    for path in (*run_dir.glob("*.sock"), *run_dir.glob("*.jinja")):
        path.unlink()


def _tcp_socket(config: Config) -> socket.socket:
    host, port = config.server_host, config.server_port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        step = "Check --server-host."
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            step = "Choose another port with --server-port or OPREL_SERVER_PORT (0 = any free one)."
        if error.errno == errno.EADDRINUSE and port == OLLAMA_PORT:
            step = "Is Ollama running? Stop it, or choose another port with --server-port."
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}", step) from error
    return listener


def _unix_socket(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(BACKLOG)
    return listener
