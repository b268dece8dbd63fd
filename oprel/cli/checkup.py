"""What `oprel doctor` looks at. No daemon is started for it, and none is needed."""

import asyncio
import logging
import os
import platform
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import psutil

from oprel import __version__
from oprel.api_models import Wire
from oprel.cli.options import without_daemon
from oprel.client.connect import daemon_pid, is_ending
from oprel.client_api import Client
from oprel.core.config import Config, child_environment
from oprel.core.exceptions import ConnectError, NoEngineError, OprelError
from oprel.runtime.binaries.engine_binaries import Binary, EngineBinaries, find_binaries, unusable
from oprel.telemetry.hardware.probing import memory_bytes
from oprel.utils.files import listens
from oprel.utils.text import human_interval, human_size
from oprel.wire.daemon import HealthResponse

SECONDS = 5.0  # for a daemon or a program to answer
ENGINE_SECONDS = 20.0
LITTLE_DISK, LITTLE_SHARE = 5 * 10**9, 0.05
LITTLE_MEMORY = 10**9  # bytes
MUCH_SWAP = 0.25  # of the memory


class CheckupFinding(Wire):
    """`advice` is what to do, best first."""

    subject: str
    level: Literal["ok", "warning", "error"]
    text: str
    advice: list[str] = []


class Report(Wire):
    findings: list[CheckupFinding]


def examined(config: Config) -> Iterator[CheckupFinding]:
    """Every finding, each as soon as it is known."""
    logging.getLogger("oprel").addHandler(logging.NullHandler())  # what is found is told here
    health, finding = check_daemon(config)
    yield finding
    yield from check_engines(EngineBinaries(find_binaries(config)), health, config.engine_path)
    yield check_hardware()
    yield from check_graphics()
    yield check_folder("home", config.home_dir)
    yield check_folder("run folder", config.run_dir)
    yield check_disk(config.home_dir)
    yield check_port(config, health)
    yield check_crashes(config.crashes_dir)
    yield from check_system()


def _ok(subject: str, text: str) -> CheckupFinding:
    return CheckupFinding(subject=subject, level="ok", text=text)


def _warning(subject: str, text: str, *advice: str) -> CheckupFinding:
    return CheckupFinding(subject=subject, level="warning", text=text, advice=[*advice])


def _error(subject: str, text: str, *advice: str) -> CheckupFinding:
    return CheckupFinding(subject=subject, level="error", text=text, advice=[*advice])


def check_daemon(config: Config) -> tuple[HealthResponse | None, CheckupFinding]:
    """What this home's daemon tells of itself, if one runs; or the one at `host`."""
    try:
        with Client(config=config, start=False, timeout=SECONDS) as client:
            health = client.health()
    except OprelError as error:
        if config.host or not isinstance(error, ConnectError):
            return None, _error("daemon", error.message, *error.resolution_steps)
        if is_ending(config):
            ending = without_daemon(config)
            return None, _warning("daemon", ending.message, *ending.resolution_steps)
        if config.socket_path.exists() and listens(config.socket_path):
            step = "End it with `oprel stop --daemon`; see its log with `oprel logs`."
            return None, _error("daemon", f"it runs for {config.home_dir}, and does not answer", step)
        return None, _ok("daemon", f"none runs for {config.home_dir}; the first command that needs one starts it")
    told = f"version {health.version}, pid {health.pid}, up for {human_interval(health.uptime_seconds)}"
    if health.version != __version__:
        step = "End it with `oprel stop --daemon`; the next one is of this version."
        return health, _warning("daemon", f"{told}; but this command is of version {__version__}", step)
    return health, _ok("daemon", told)


def check_engines(
    shelf: EngineBinaries, health: HealthResponse | None, configured: str = ""
) -> Iterator[CheckupFinding]:
    """The engine that would be used, really started; and those that cannot be, the one that is `configured` too."""
    try:
        binary, version = _first_that_runs(shelf)
        yield _ok("engine", f"{binary} runs: {version}")
    except NoEngineError as error:
        yield _error("engine", error.message, *error.resolution_steps)
    reasons = {str(one.binary): one.reason for one in shelf.aside}
    reasons |= {one.engine: one.reason for one in (health.engines_set_aside if health else ())}
    for engine, reason in reasons.items():
        text = f"{engine} is not used: {reason}"
        if engine == os.path.expanduser(configured):
            yield _error("engine", text, "Correct engine_path, which names it; empty, the first that runs is used.")
        else:
            yield _warning("engine", text, "Replace it, or remove it from where it is found.")


def _first_that_runs(shelf: EngineBinaries) -> tuple[Binary, str]:
    """With what it says of its version. Raises NoEngineError."""
    while True:
        binary, _ = asyncio.run(shelf.choose())
        try:
            done = _output(*binary.command, "--version", seconds=ENGINE_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            shelf.set_aside(binary, f"`--version` fails: {error}")
            continue
        if done.returncode == 0:
            return binary, _telling_line(done.stdout)
        reason = unusable(done.returncode, done.stdout)
        shelf.set_aside(binary, reason or f"`--version` exits with {done.returncode}")


def _telling_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return next((line for line in lines if "version" in line), lines[0] if lines else "no version")


def _output(*command: str, seconds: float = SECONDS) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=seconds,
        env=child_environment(),
    )


def check_hardware() -> CheckupFinding:
    total, free = memory_bytes(), min(memory_bytes(), psutil.virtual_memory().available)
    text = f"{os.cpu_count()} CPUs ({platform.machine()}), {human_size(free)} of {human_size(total)} memory free"
    if free < LITTLE_MEMORY:
        return _warning("hardware", text, "Stop other programs, or models that are loaded (`oprel ps`, `oprel stop`).")
    return _ok("hardware", text)


def check_graphics() -> Iterator[CheckupFinding]:
    if sys.platform == "darwin" and platform.machine() == "arm64":
        yield _ok("GPU", "Apple's, which shares the memory")
        return
    program = shutil.which("nvidia-smi")
    if program is None:
        yield _ok("GPU", "none of NVIDIA's was found (no nvidia-smi): models run on the CPU")
        return
    try:
        done = _output(program, "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader")
    except (OSError, subprocess.TimeoutExpired) as error:
        yield _warning("GPU", f"nvidia-smi fails: {error}", "Is the driver installed and loaded?")
        return
    if done.returncode:
        yield _warning("GPU", f"nvidia-smi says: {done.stdout.strip()}", "Is the driver installed and loaded?")
        return
    for line in done.stdout.splitlines():
        name, total, free = (part.strip() for part in line.split(","))
        yield _ok("GPU", f"{name}, {free} of {total} free")


def check_folder(subject: str, folder: Path) -> CheckupFinding:
    """It must be this user's, and should be nobody else's to read."""
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return _ok(subject, f"{folder} will be made")
    except OSError as error:
        return _error(subject, f"{folder}: {error.strerror}", "Choose another home with --home or OPREL_HOME.")
    if not folder.is_dir() or status.st_uid != os.getuid():
        return _error(subject, f"{folder} is not a folder of this user", "Choose another with --home or OPREL_HOME.")
    if not os.access(folder, os.W_OK | os.X_OK):
        return _error(subject, f"{folder} cannot be written", f"chmod 700 {folder}")
    if stat.S_IMODE(status.st_mode) & 0o077:
        return _warning(subject, f"{folder} is open to other users", f"chmod 700 {folder}")
    return _ok(subject, f"{folder} is this user's alone")


def check_disk(folder: Path) -> CheckupFinding:
    there = next(one for one in (folder, *folder.parents) if one.exists())
    total, _, free = shutil.disk_usage(there)
    text = f"{human_size(free)} of {human_size(total)} free at {there}"
    if free < max(LITTLE_DISK, LITTLE_SHARE * total):
        return _warning("disk", text, "Models are large: remove some (`oprel rm`), or move the home with --home.")
    return _ok("disk", text)


def check_port(config: Config, health: HealthResponse | None) -> CheckupFinding:
    """Whether a daemon could listen there, or ours does."""
    host, port = config.server_host, config.server_port
    place = f"{host}:{port}"
    if port == 0:
        return _ok("port", "any free one is taken")
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return _ok("port", f"{place} is free")
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
    other = "Choose another port with --server-port or OPREL_SERVER_PORT."
    if found := _daemon_at(host, port):
        own = health.pid if health else daemon_pid(config) if is_ending(config) else None
        if found.pid == own:
            return _ok("port", f"{place} is the daemon's")
        text = f"{place} is held by another daemon of oprel (pid {found.pid})"
    else:
        text = f"{place} cannot be had: {why}{_holder(port)}"
    return _warning("port", text, other) if health else _error("port", text, other)


def _daemon_at(host: str, port: int) -> HealthResponse | None:
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        with Client(f"http://{f'[{local}]' if ':' in local else local}:{port}", timeout=SECONDS) as client:
            return client.health()
    except OprelError:
        return None


def _holder(port: int) -> str:
    """Who listens there, in words; nothing where the system does not tell it to this user."""
    try:
        for one in psutil.net_connections("tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port and one.pid:
                return f" (held by {psutil.Process(one.pid).name()}, pid {one.pid})"
    except psutil.Error:
        pass
    return ""


def check_crashes(folder: Path) -> CheckupFinding:
    """Their files' names begin with the time."""
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y%m%dT%H%M%S}"
    recent = sorted(path.stem for path in folder.glob("*.json") if path.stem >= yesterday)
    if recent:
        text = f"{len(recent)} within a day, the last one {recent[-1]}"
        return _warning("crashes", text, "`oprel crash show` tells why.")
    return _ok("crashes", "none within a day")


def check_system() -> Iterator[CheckupFinding]:
    """What of the kernel's settings is in the way."""
    overcommit = Path("/proc/sys/vm/overcommit_memory")
    if overcommit.exists() and overcommit.read_text().strip() == "2":
        text = "the kernel promises no more memory than there is (vm.overcommit_memory = 2): large models may not load"
        yield _warning("system", text, "sysctl vm.overcommit_memory=0")
    swapped = psutil.swap_memory().used
    if swapped > MUCH_SWAP * memory_bytes():
        text = f"{human_size(swapped)} of memory are swapped to the disk: engines may be slow"
        yield _warning("system", text, "Load fewer or smaller models, or stop other programs.")
