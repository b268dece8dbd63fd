"""The checks of `oprel doctor`. They neither need nor start a daemon."""

import asyncio
import logging
import os
import platform
import shutil
import socket
import stat
import subprocess
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import psutil

from oprel import __version__
from oprel.api_models import Wire
from oprel.cli.checks.engine_versions import has_published_faults, version_line
from oprel.cli.checks.home_checks import home_faults
from oprel.cli.screen.settings_notes import running_daemon
from oprel.client.plain.daemon_state import daemon_pid, is_ending, is_listening, why_silent
from oprel.client_api import Client
from oprel.core.config import Config
from oprel.core.configuration.environment import child_environment
from oprel.core.exceptions import ConnectError, NoEngineError, OprelError, ShuttingDownError
from oprel.core.home import foreign_advice, owner_advice
from oprel.runtime.binaries.devices import Listed
from oprel.runtime.binaries.engine_binaries import Binary, EngineBinaries, unusable
from oprel.runtime.selection.engines import unused_gpu
from oprel.stores.seen import away_models
from oprel.telemetry.hardware.listed import seen_by
from oprel.telemetry.hardware.probing import Hardware, memory_bytes, this_machine
from oprel.utils.files import port_owner
from oprel.utils.process import systems
from oprel.utils.text import human_interval, human_size
from oprel.wire.daemon import HealthResponse

SECONDS = 5.0  # to wait for a daemon or a program
ENGINE_SECONDS = 20.0
LITTLE_DISK, LITTLE_SHARE = 5 * 10**9, 0.05
LITTLE_MEMORY = 10**9  # bytes
MUCH_SWAP = 0.25  # of the memory
MOUNT = "Mount the disk. If the files were deleted, remove the names with `oprel rm`."
CHECKED_SETTINGS = {"engine_path", "binary_dir", "hardware", "server_host", "server_port", "cache_dir", "in_place"}


class CheckupFinding(Wire):
    """`advice` is what to do, best first."""

    subject: str
    level: Literal["ok", "warning", "error"]
    text: str
    advice: list[str] = []


class Report(Wire):
    findings: list[CheckupFinding]


def examined(config: Config, notes: Sequence[str] = ()) -> Iterator[CheckupFinding]:
    """Yield each finding as soon as its check is done. `notes` are about settings without effect.

    The daemon is the one that commands talk to. If it is this machine's own, its settings count, not those set here.
    """
    logging.getLogger("oprel").addHandler(logging.NullHandler())  # the findings already say what the log would
    health, finding = check_daemon(config)
    yield finding
    yield from (_warning("settings", note) for note in notes)
    if config.host and not (health and health.pid == daemon_pid(config)):
        yield from check_distant_engines(health)
        yield check_hardware(this_machine(config.hardware))
        return
    config = in_effect(config)
    binaries, machine = EngineBinaries.of(config), this_machine(config.hardware)
    yield from check_engines(binaries, health, config.engine_path)
    yield check_hardware(machine)
    yield from check_graphics(seen_by(machine, _listed(binaries, machine) or None), uses_gpus=binaries.uses_gpus)
    yield check_folder("home", config.home_dir)
    yield check_folder("run folder", config.run_dir)
    yield from (_error("home", advice) for advice in filter(None, [foreign_advice(config)]))
    yield from check_state(config)
    yield check_disk(config.home_dir)
    for folder, names in away_models(config).items():
        yield _warning("disk", f"{folder}, which has {', '.join(names)}, is missing, empty or not readable", MOUNT)
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
    """The health of the configured daemon: the one at `host`, else this home's."""
    try:
        with Client(config=config, start=False, timeout=SECONDS) as client:
            health = client.health()
    except OprelError as error:
        return None, _without_health(config, error)
    of_ours = f", pid {health.pid}, up for {human_interval(health.uptime_seconds)}" if health.pid else ""
    summary = f"version {health.version}{of_ours}"
    if (daemon := running_daemon(config)) and daemon.address.startswith("https:"):
        summary += f", at {daemon.address}"
    if health.version != __version__:
        step = f"Update it on {config.host}." if config.host else "`oprel restart`"
        return health, _warning("daemon", f"{summary}, but this command has version {__version__}", step)
    return health, _ok("daemon", summary)


def _without_health(config: Config, error: OprelError) -> CheckupFinding:
    """`error`: what the daemon was not reached by, or did not answer by."""
    if not config.host and isinstance(error, ConnectError):
        if daemon_pid(config) is None and not is_listening(config):
            return _ok("daemon", f"none is running for {config.home_dir}; the first command that needs one starts it")
        error = why_silent(config)
    report = _warning if isinstance(error, ShuttingDownError) else _error
    return report("daemon", error.message, *error.resolution_steps)


def in_effect(config: Config, checked: Collection[str] = CHECKED_SETTINGS) -> Config:
    """The settings of this machine's running daemon, or those that the next one would have."""
    daemon = running_daemon(config)
    if daemon is None:
        return config
    names = daemon.settings.keys() & checked
    return config.replace(**{name: daemon.settings[name].value for name in names})


def check_distant_engines(health: HealthResponse | None) -> Iterator[CheckupFinding]:
    """The engines of a daemon on another machine, as it reports them."""
    if health and health.engines:
        yield _ok("engine", f"the daemon has {', '.join(health.engines)}")
    elif health:
        yield _error("engine", "the daemon has no engine", "`oprel engines` on its machine says why.")
    for engine in health.engines_set_aside if health else ():
        yield _warning("engine", f"{engine.engine} is not used: {engine.reason}", "Replace it or remove it there.")


def check_engines(
    binaries: EngineBinaries, health: HealthResponse | None, configured: str = ""
) -> Iterator[CheckupFinding]:
    """Start the engine that would be used, and report those that cannot be. `configured` is the setting engine_path."""
    try:
        binary, version = _first_that_runs(binaries)
        if has_published_faults(version):
            text = f"{binary} runs: {version}, which crashes on hostile files and requests in published ways"
            yield _warning("engine", text, "Update it: `oprel engines install llama.cpp`, or `pip install -U oprel`.")
        else:
            yield _ok("engine", f"{binary} runs: {version}")
    except NoEngineError as error:
        yield _error("engine", error.message, *error.resolution_steps)
    reasons = {str(rejected.binary): rejected.reason for rejected in binaries.aside}
    reasons |= {rejected.engine: rejected.reason for rejected in (health.engines_set_aside if health else ())}
    for engine, reason in reasons.items():
        text = f"{engine} is not used: {reason}"
        if engine == os.path.expanduser(configured):
            yield _error("engine", text, "Correct engine_path, or leave it empty to use the first engine that works.")
        else:
            yield _warning("engine", text, "Replace it or remove it.")


def _first_that_runs(binaries: EngineBinaries) -> tuple[Binary, str]:
    """The first engine that starts, and its version line. Raises NoEngineError."""
    tried = set[Binary]()
    while True:
        binary, _ = asyncio.run(binaries.choose(tried))
        tried.add(binary)
        try:
            done = _output(*binary.command, "--version", seconds=ENGINE_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            binaries.set_aside(binary, f"`--version` fails: {error}")
            continue
        if done.returncode == 0:
            return binary, version_line(done.stdout)
        reason = unusable(done.returncode, done.stdout)
        binaries.set_aside(binary, reason or f"`--version` exits with {done.returncode}")


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


def check_hardware(hardware: Hardware) -> CheckupFinding:
    memory = hardware.memory
    free = memory.available_bytes
    share = f"{human_size(free)} of {human_size(memory.usable_bytes)} memory free"
    text = "; ".join([f"{os.cpu_count()} CPUs ({platform.machine()}), {share}", *map(str, memory.limits)])
    if free < LITTLE_MEMORY:
        return _warning("hardware", text, "Stop other programs, or unload models (`oprel ps`, `oprel stop`).")
    return _ok("hardware", text)


def _listed(binaries: EngineBinaries, machine: Hardware) -> Listed:
    try:
        return asyncio.run(binaries.devices(wheel_too=bool(machine.gpus)))
    except NoEngineError:
        return None


def check_graphics(hardware: Hardware, *, uses_gpus: bool) -> Iterator[CheckupFinding]:
    """The GPUs, and whether llama.cpp's program uses them. `uses_gpus`: it lists one."""
    for gpu in hardware.gpus:
        name = f"{gpu.name} ({gpu.device})" if gpu.device else gpu.name
        yield _ok("GPU", f"{name}, {human_size(gpu.free_bytes)} of {human_size(gpu.total_bytes)} free")
    for note in hardware.notes:
        yield _warning("GPU" if "GPU" in note else "hardware", note)
    if not hardware.gpus:
        yield _ok("GPU", "no usable GPU found: models run on the CPU")
    elif not uses_gpus:
        yield _warning("GPU", unused_gpu(hardware.gpus))


def check_folder(subject: str, folder: Path) -> CheckupFinding:
    """It must belong to this user, and should not be readable by others."""
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return _ok(subject, f"{folder} will be created")
    except OSError as error:
        return _error(subject, f"{folder}: {error.strerror}", "Choose another home with --home or OPREL_HOME.")
    if not folder.is_dir() or status.st_uid != systems.user_id():
        steps = filter(None, [owner_advice(folder), "Choose another with --home or OPREL_HOME."])
        return _error(subject, f"{folder} is not a folder owned by this user", *steps)
    if not os.access(folder, os.W_OK | os.X_OK):
        return _error(subject, f"{folder} is not writable", f"chmod 700 {folder}")
    if stat.S_IMODE(status.st_mode) & 0o077:
        return _warning(subject, f"{folder} is accessible to other users", f"chmod 700 {folder}")
    return _ok(subject, f"{folder} is private to this user")


def check_state(config: Config) -> Iterator[CheckupFinding]:
    """What is damaged in the home, and what was."""
    faults = list(home_faults(config))
    if all(fault.subject != "state.db" for fault in faults):
        yield _ok("state.db", "conversations and downloads can be kept")
    yield from (_warning(fault.subject, fault.text, fault.advice) for fault in faults)


def check_disk(folder: Path) -> CheckupFinding:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    total, _, free = shutil.disk_usage(existing)
    text = f"{human_size(free)} of {human_size(total)} free at {existing}"
    if free < max(LITTLE_DISK, LITTLE_SHARE * total):
        return _warning("disk", text, "Remove models (`oprel rm`), or move the home folder with --home.")
    return _ok("disk", text)


def check_port(config: Config, health: HealthResponse | None) -> CheckupFinding:
    """Whether a daemon can listen on the configured port, or ours already does."""
    host, port = config.server_host, config.server_port
    address = f"{host}:{port}"
    if port == 0:
        return _ok("port", "any free port is used")
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return _ok("port", f"{address} is free")
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
    other = "Choose another port with --server-port or OPREL_SERVER_PORT."
    if port == Config.server_port and (owner := port_owner(port)) not in (None, systems.user_id()):
        where = "listens on another one, which its log names" if health else "will take the next free one"
        return _ok("port", f"{address} belongs to another user (user ID {owner}): this user's daemon {where}")
    if daemon := _daemon_at(host, port):
        own = health.pid if health else daemon_pid(config) if is_ending(config) else None
        if daemon.pid == own:
            return _ok("port", f"the daemon listens on {address}")
        text = f"{address} is in use by another oprel daemon" + (f" (pid {daemon.pid})" if daemon.pid else "")
    elif (holder := _holder(port)) and holder.pid == daemon_pid(config):  # it does not answer, as said before
        return _ok("port", f"the daemon has {address}")
    else:
        text = f"{address} is not available: {why}{f' (in use by {holder.name()}, pid {holder.pid})' if holder else ''}"
    return _warning("port", text, other) if health else _error("port", text, other)


def _daemon_at(host: str, port: int) -> HealthResponse | None:
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        with Client(f"http://{f'[{local}]' if ':' in local else local}:{port}", timeout=SECONDS) as client:
            return client.health()
    except OprelError:
        return None


def _holder(port: int) -> psutil.Process | None:
    """The process that listens on the port; None if the system hides it from this user."""
    try:
        for connection in psutil.net_connections("tcp"):
            address, is_listener = connection.laddr, connection.status == psutil.CONN_LISTEN
            if is_listener and address and address.port == port and connection.pid:
                return psutil.Process(connection.pid)
    except psutil.Error:
        pass
    return None


def check_crashes(folder: Path) -> CheckupFinding:
    # The names of crash files begin with the time.
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y%m%dT%H%M%S}"
    recent = sorted(path.stem for path in folder.glob("*.json") if path.stem >= yesterday)
    if recent:
        text = f"{len(recent)} in the last 24 hours, the latest {recent[-1]}"
        return _warning("crashes", text, "`oprel crash show` says why.")
    return _ok("crashes", "none in the last 24 hours")


def check_system() -> Iterator[CheckupFinding]:
    """Kernel settings and swap use that get in the way."""
    overcommit = Path("/proc/sys/vm/overcommit_memory")
    if overcommit.exists() and overcommit.read_text().strip() == "2":
        text = "the kernel does not overcommit memory (vm.overcommit_memory = 2): large models may not load"
        yield _warning("system", text, "sysctl vm.overcommit_memory=0")
    swapped = psutil.swap_memory().used
    if swapped > MUCH_SWAP * memory_bytes():
        text = f"{human_size(swapped)} of memory is swapped out: engines may be slow"
        yield _warning("system", text, "Load fewer or smaller models, or stop other programs.")
