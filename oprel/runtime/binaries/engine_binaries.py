"""The engine programs that may run here, best first, and those that were set aside, with the reason.

Order: the configured path, the engine that oprel installed, other folders in `binary_dir`, llama-server on PATH, the
xllamacpp wheel.
"""

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import logging
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import IO, Self

from oprel.core.config import Config
from oprel.core.configuration.environment import child_environment
from oprel.core.exceptions import ConfigError, NoEngineError
from oprel.core.home import ensure_temporary_folder
from oprel.runtime.binaries import wheel
from oprel.runtime.binaries.devices import FLAG, DeviceLists, Listed
from oprel.runtime.binaries.llama_cpp.installed import InstalledEngines
from oprel.telemetry.memory.process import NATIVE, WHEEL, Program
from oprel.utils.file_cache import FileCache, FileStates, states_of
from oprel.utils.process.clock import Clock

logger = logging.getLogger(__name__)

PROBE_SECONDS = 20.0
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 3600.0  # s until a program that was set aside is tried again; each time twice as long


class BinarySource(Enum):
    CONFIGURED = "engine_path"
    INSTALLED = "binary_dir"
    PATH = "PATH"
    BESIDE = "beside oprel"
    WHEEL = "xllamacpp wheel"


@dataclass(frozen=True)
class Binary:
    """A program that speaks llama-server's flags."""

    source: BinarySource
    command: tuple[str, ...]

    def __str__(self) -> str:
        return self.source.value if self.source is BinarySource.WHEEL else self.command[0]

    @property
    def may_use_gpus(self) -> bool:
        """What to expect until it was asked: the wheel is built for CPUs, except on Apple's machines."""
        return self.source is not BinarySource.WHEEL or sys.platform == "darwin"

    @property
    def program(self) -> Program:
        """What it takes of memory by itself."""
        return WHEEL if self.source is BinarySource.WHEEL else NATIVE

    @property
    def build(self) -> str:
        """A text that changes when the program is updated: the wheel's version, or the size and time of the file.

        Not the version that a program prints: it would have to be started before each plan.
        """
        if self.source is BinarySource.WHEEL:
            return f"{self} {wheel_version()}"
        try:
            status = os.stat(self.command[0])
        except OSError:
            return str(self)
        return f"{self} {status.st_size} {status.st_mtime_ns}"


_versions: FileCache[str] = FileCache()  # of the wheel; reading it takes 7 ms


def wheel_version() -> str:
    """The version of the installed wheel; "" while pip replaces it."""
    file = _wheel_file()
    version = _versions.get(file)
    if version is None:
        states = states_of([file])
        try:
            version = importlib.metadata.version("xllamacpp")
        except importlib.metadata.PackageNotFoundError:
            return ""
        _versions.put(file, version, states)
    return version


def _wheel_file() -> str:
    spec = importlib.util.find_spec("xllamacpp")
    return str(spec.origin if spec else "")


@dataclass(frozen=True)
class Aside:
    """A program that is not used: its file was in the state `files`, and it is tried again after `pause` seconds."""

    binary: Binary
    reason: str
    files: FileStates
    since: float
    pause: float

    @property
    def is_unchanged(self) -> bool:
        return self.files == states_of(files_of(self.binary))


class EngineBinaries:
    """Owner of the choice among programs of one engine. Without `probes` it does not read their flags.

    `find` lists the programs again: engines are installed, replaced and removed while a daemon runs. One that was set
    aside returns when its file changes, and is tried again from time to time, since a fault may pass.
    `extra_environment` is what they get beside the usual variables of engines.
    """

    def __init__(
        self,
        binaries: Sequence[Binary],
        *,
        probes: bool = True,
        find: Callable[[], Sequence[Binary]] | None = None,
        extra_environment: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._binaries = tuple(binaries)
        self._probes = probes
        self._find = find
        self._extra_environment = dict(extra_environment or {})
        self._clock = clock
        self._aside: dict[Binary, Aside] = {}
        self._flags = FileCache[frozenset[str]]()
        self._device_lists = DeviceLists()
        self._devices: dict[Binary, Listed] = {}  # as they were last seen

    @classmethod
    def of(cls, config: Config) -> Self:
        """llama.cpp's programs on this machine. Raises ConfigError if there is no folder for temporary files."""
        ensure_temporary_folder(config)
        return cls(
            find_binaries(config), find=partial(find_binaries, config), extra_environment=config.extra_environment
        )

    def look_again(self) -> None:
        """Take notice of engines that were installed or removed meanwhile."""
        if self._find:
            importlib.invalidate_caches()  # else a package that was just installed may not be found
            self._binaries = tuple(self._find())

    @property
    def _environment(self) -> dict[str, str]:
        return child_environment() | self._extra_environment

    @property
    def usable(self) -> list[Binary]:
        return [binary for binary in self._binaries if not self._is_aside(binary)]

    @property
    def aside(self) -> list[Aside]:
        """Those that failed the last time that they were tried, and are still what they were then."""
        return [aside for aside in self._aside.values() if aside.is_unchanged and aside.binary in self._binaries]

    def set_aside(self, binary: Binary, reason: str) -> None:
        """Stop using `binary` until its file changes, or for a while, which is longer each time."""
        before = self._aside.get(binary)
        pause = min(2 * before.pause, LONGEST_PAUSE) if before and before.is_unchanged else FIRST_PAUSE
        self._aside[binary] = Aside(binary, reason, states_of(files_of(binary)), self._clock(), pause)
        self.forget_flags(binary)
        remaining = self.usable
        logger.warning(
            "engine %s set aside: %s; %s", binary, reason, f"using {remaining[0]}" if remaining else "none is left"
        )

    def note_start(self, binary: Binary) -> None:
        """It runs: what it failed of before has passed."""
        self._aside.pop(binary, None)

    def forget_flags(self, binary: Binary) -> None:
        """Ask the program for its flags again before its next start: it did not take those that it was given."""
        self._flags.forget(binary)

    async def choose(self, besides: Collection[Binary] = ()) -> tuple[Binary, frozenset[str]]:
        """The first engine that runs, with the flags it knows; none of `besides`, which were just tried in vain.

        Raises NoEngineError with every reason.
        """
        if not self.usable:
            self.look_again()
        for binary in self.usable:
            if binary in besides:
                continue
            try:
                return binary, await self._known_flags(binary)
            except ProbeError as error:
                self.set_aside(binary, str(error))
        tried = "; ".join(f"{aside.binary}: {aside.reason}" for aside in self._aside.values()) or "none is installed"
        raise NoEngineError(
            f"no inference engine runs on this machine ({tried})",
            "Install one: `pip install xllamacpp`, or put llama.cpp's llama-server on PATH.",
            "Or name one with --engine-path or OPREL_ENGINE_PATH.",
        )

    async def devices(self, *, wheel_too: bool = True) -> Listed:
        """Which devices the engine sees that would be used; None if it cannot tell. Raises NoEngineError.

        `wheel_too`: else the wheel is not asked. Its start takes long, in vain where no driver reports a GPU.
        """
        binary, flags = await self.choose()
        asks = FLAG in flags and (wheel_too or binary.source is not BinarySource.WHEEL)
        listed = await self._device_lists.of(binary.command, binary.build, self._environment) if asks else None
        self._devices[binary] = listed
        return listed

    async def look_for_devices(self) -> None:
        """Ask the engine that would be used which devices it sees, if one runs."""
        with contextlib.suppress(NoEngineError):  # the start of an engine reports it
            await self.devices()

    @property
    def uses_gpus(self) -> bool:
        """Whether the engine that would be used finds a GPU, as far as that is known."""
        binary = next(iter(self.usable), None)
        if binary is None:
            return True
        devices = self._devices.get(binary)
        return binary.may_use_gpus if devices is None else bool(devices)

    async def _known_flags(self, binary: Binary) -> frozenset[str]:
        if not self._probes:
            return frozenset()
        flags = self._flags.get(binary)
        if flags is None:
            files = states_of(files_of(binary))
            text = (
                wheel.build_parser().format_help()
                if binary.source is BinarySource.WHEEL
                else await _help(binary, self._environment)
            )
            flags = self._flags.put(binary, frozenset(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", text)), files)
        return flags

    def _is_aside(self, binary: Binary) -> bool:
        aside = self._aside.get(binary)
        return aside is not None and self._clock() - aside.since < aside.pause and aside.is_unchanged


def files_of(binary: Binary) -> list[str]:
    """The files whose change makes it another program."""
    return [_wheel_file()] if binary.source is BinarySource.WHEEL else [binary.command[0]]


class ProbeError(Exception):
    """Why a program cannot be used."""


def probed(config: Config) -> EngineBinaries:
    """llama.cpp's programs, when the one that would be used was asked for its devices. Not for an event loop."""
    binaries = EngineBinaries.of(config)
    asyncio.run(binaries.look_for_devices())
    return binaries


def check_configured(config: Config) -> None:
    """Raises ConfigError if the configured engine is not executable. Another engine must not silently replace it."""
    path = os.path.expanduser(config.engine_path)
    if path and not (os.path.isfile(path) and os.access(path, os.X_OK)):
        raise ConfigError(
            f"engine_path is {path}, which is not executable",
            "Correct it in the config, OPREL_ENGINE_PATH or --engine-path. If empty, the first that runs is used.",
        )


def find_binaries(config: Config) -> list[Binary]:
    """Every candidate on this machine in order of preference. Starts none of them."""
    binaries = []
    if config.engine_path:
        binaries.append(Binary(BinarySource.CONFIGURED, (os.path.expanduser(config.engine_path),)))
    engines = InstalledEngines(config.engines_dir)
    if active := engines.active:
        binaries.append(Binary(BinarySource.INSTALLED, (str(engines.program_of(active)),)))
    installed = sorted(config.engines_dir.glob("*/llama-server"), key=_build, reverse=True)
    binaries += [Binary(BinarySource.INSTALLED, (str(path),)) for path in installed]
    if on_path := shutil.which("llama-server"):
        binaries.append(Binary(BinarySource.PATH, (on_path,)))
    if importlib.util.find_spec("xllamacpp") is not None:
        binaries.append(Binary(BinarySource.WHEEL, (sys.executable, "-P", "-m", wheel.__name__)))
    return binaries


def _build(program: Path) -> list[int]:
    """The numbers in the name of an engine's folder, such as its build. Later builds have larger numbers."""
    return [int(digits) for digits in re.findall(r"\d+", program.parent.name)]


def unusable(returncode: int, output: str) -> str | None:
    """Why the engine cannot run on this machine at all, or None if the exit has another cause."""
    if returncode == -signal.SIGILL:
        return "it was built for instructions that this CPU lacks (SIGILL)"
    missing = re.search(r"error while loading shared libraries: (.*)|version [`'](GLIBC\w*_[\d.]+)' not found", output)
    if returncode == wheel.MISSING_LIBRARY or missing:
        return f"a library is missing: {missing[1] or missing[2]}" if missing else "a library is missing"
    return None


async def _help(binary: Binary, environment: Mapping[str, str]) -> str:
    with tempfile.TemporaryFile() as output:  # not a pipe, which a child of the program could hold open
        status = await _status_of_help(binary, environment, output)
        output.seek(0)
        text = output.read().decode(errors="replace")
    if reason := unusable(status, text):
        raise ProbeError(reason)
    if status != 0 or "--model" not in text:
        raise ProbeError(f"it is not a llama-server (`--help` exits with {status})")
    return text


async def _status_of_help(binary: Binary, environment: Mapping[str, str], output: IO[bytes]) -> int:
    command, nothing = [*binary.command, "--help"], asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=nothing, stdout=output, stderr=output, env=environment
        )
    except OSError as error:
        raise ProbeError(f"it cannot be started: {error.strerror}") from error
    try:
        async with Clock().timeout(PROBE_SECONDS):
            return await process.wait()
    except TimeoutError:
        raise ProbeError(f"`--help` did not end within {PROBE_SECONDS:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
