"""`oprel engines install|update|rollback llama.cpp`: a build for this machine's GPU, used only if it works."""

import asyncio
import platform
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oprel.cli.screen import render
from oprel.core.config import Config
from oprel.core.exceptions import NoEngineError, OprelError, ValidationError
from oprel.runtime.binaries.engine_binaries import Binary, BinarySource, EngineBinaries, probed, wheel_version
from oprel.runtime.binaries.environments import alone
from oprel.runtime.binaries.llama_cpp import building
from oprel.runtime.binaries.llama_cpp.choosing import apis_for, choose, this_target
from oprel.runtime.binaries.llama_cpp.installed import InstalledEngine, InstalledEngines
from oprel.runtime.binaries.llama_cpp.listing import (
    ComputeApi,
    EngineRelease,
    ListedFile,
    SourceRelease,
    read_listing,
)
from oprel.runtime.binaries.llama_cpp.obtaining import obtain
from oprel.runtime.binaries.llama_cpp.unpacking import executable, unpack
from oprel.runtime.selection.engines import INSTALL
from oprel.selftest.checks import CHECKS
from oprel.selftest.faults import FAULTS
from oprel.selftest.running import outcomes
from oprel.telemetry.hardware.probing import Hardware, this_machine
from oprel.utils.text import human_size

DRIVERS = {"vulkan": "Vulkan's driver may be missing: on Debian and Ubuntu, `apt install mesa-vulkan-drivers`."}
BUILD_TIME = "This takes about an hour of a CPU core's time, and several for CUDA and ROCm."


@dataclass(frozen=True, kw_only=True)
class InstallRequest:
    """What the user wants: an API, None for the best one; to build it here; to test it with faults; no question."""

    api: ComputeApi | None
    build: bool
    chaos: bool
    sure: bool


def install(config: Config, request: InstallRequest) -> None:
    """Install the build that fits, and use it if it passes the selftest. Until then, and if not, the old one is used.

    Raises NoEngineError if none fits or the new one does not work, DownloadError, ValidationError, BusyError.
    """
    hardware, engines = this_machine(config.hardware), InstalledEngines(config.engines_dir)
    apis = (request.api,) if request.api else apis_for(hardware.gpus)
    if not (request.api or request.build) and (enough := _why_enough(config, hardware, apis)):
        render.line(enough)
        return
    listed = _source(config) if request.build else _release(config, hardware, apis, request.api)
    api = listed.api if isinstance(listed, EngineRelease) else _buildable(apis)
    title = listed.title if isinstance(listed, EngineRelease) else f"{listed.title}, built here"
    there = engines.same(title, api, listed.sha256)
    if there and there == engines.active:
        render.line(f"{there} is already installed and used")
        return
    if not (there or _agreed(listed, engines.folder, request)):
        return
    config.engines_dir.mkdir(parents=True, exist_ok=True)
    with alone(config.engines_dir):
        engine = there or _made(listed, title, api, engines, config)
        try:
            _check(engine, engines, config, hardware, chaos=request.chaos)
        except OprelError as error:
            if not there:  # a build from before may be the one that a rollback goes to
                engines.discard(engine)
            raise _refused(error, engines, removed=not there) from error
        engines.activate(engine)
    _conclude(engine, config)


@dataclass(frozen=True, kw_only=True)
class EngineInUse:
    """The engine that would be used now: its `title`, and llama.cpp's build number, None if oprel does not manage it.

    `misses_gpu`: the machine has a GPU that it does not use.
    """

    title: str
    build: int | None
    misses_gpu: bool

    def is_worse_than(self, other: ListedFile | None) -> bool:
        if other is None:
            return False
        return self.misses_gpu or (self.build is not None and other.build > self.build)


def _in_use(config: Config, hardware: Hardware) -> EngineInUse:
    binaries, engines = probed(config), InstalledEngines(config.engines_dir)
    binary, active = next(iter(binaries.usable), None), engines.active
    title, build = str(binary or "none"), None
    if binary and active and binary.command == (str(engines.program_of(active)),):
        title, build = str(active), active.build
    elif binary and binary.source is BinarySource.WHEEL:
        title, build = f"xllamacpp {wheel_version()}", _build_of_wheel()
    return EngineInUse(title=title, build=build, misses_gpu=bool(hardware.gpus) and not binaries.uses_gpus)


def _why_enough(config: Config, hardware: Hardware, apis: Sequence[ComputeApi]) -> str:
    """Why no other engine is needed, "" if one is worth having."""
    used = _in_use(config, hardware)
    best = choose(read_listing(config.engine_sources).releases, this_target(hardware), apis).release
    if used.misses_gpu or used.is_worse_than(best):
        return ""
    if hardware.gpus:
        return f"llama.cpp is already installed, and uses {hardware.gpus[0].name}: {used.title}"
    return f"no usable GPU was found, and for CPUs llama.cpp is already installed: {used.title}"


def _release(
    config: Config, hardware: Hardware, apis: Sequence[ComputeApi], wanted: ComputeApi | None
) -> EngineRelease:
    """The listed build to install. Raises NoEngineError with the reason against each, and what else can be done."""
    choice = choose(read_listing(config.engine_sources).releases, this_target(hardware), apis)
    if choice.release:
        return choice.release
    raise NoEngineError(
        f"no listed build of llama.cpp fits this machine ({' or '.join(apis)}, {platform.machine()})",
        *(f"{release.title} ({release.api}): {why}." for release, why in choice.rejected),
        f"To build one here: `{INSTALL}{f' --{wanted}' if wanted else ''} --build`.",
        f"Or unpack a build of your own, so that it is {config.engines_dir / 'NAME' / 'llama-server'}.",
    )


def _buildable(apis: Sequence[ComputeApi]) -> ComputeApi:
    """The first API for which the tools are here. Raises NoEngineError, which names those of the first."""
    api = next((api for api in apis if not building.missing_tools(api)), apis[0])
    building.check_tools(api)
    return api


def _source(config: Config) -> SourceRelease:
    """The newest sources. Raises NoEngineError if there are none."""
    sources = read_listing(config.engine_sources).sources
    if not sources:
        raise NoEngineError("the list of engines has no sources to build from", "Leave `engine_sources` empty.")
    return max(sources, key=lambda source: source.build)


def _agreed(listed: ListedFile, folder: Path, request: InstallRequest) -> bool:
    if isinstance(listed, EngineRelease):
        size = human_size(listed.size_bytes)
        render.note(f"This will download {listed.title} ({size}), llama.cpp b{listed.build} for {listed.api}.")
    else:
        render.note(f"This will build llama.cpp b{listed.build} from {listed.title}. {BUILD_TIME}")
    render.note(f"It will be put into {folder}, and used if it passes the selftest.")
    return request.sure or render.confirms("Continue?")


def _made(
    listed: EngineRelease | SourceRelease, title: str, api: ComputeApi, engines: InstalledEngines, config: Config
) -> InstalledEngine:
    """Fetch and unpack or build it, in a folder of its own."""
    progress = render.ProgressLines()
    with engines.unfinished() as folder:
        try:
            archive = obtain(listed, engines.folder, config, progress.show, pip_shown=render.has_watcher())
            progress.show(f"unpacking {listed.file}")
            program = _put(listed, archive, folder, api, progress)
        except ValidationError as error:
            raise NoEngineError(f"{listed.title} cannot be used: {error.message}", *error.resolution_steps) from error
        finally:
            progress.end()
        archive.unlink(missing_ok=True)
        engine = InstalledEngine(
            id=f"b{listed.build}-{api}",
            title=title,
            build=listed.build,
            api=api,
            program=program,
            sha256=listed.sha256,
        )
        return engines.keep(folder, engine)


def _put(
    listed: EngineRelease | SourceRelease, archive: Path, folder: Path, api: ComputeApi, progress: render.ProgressLines
) -> str:
    """Put what the engine needs into the folder. Returns the path of llama-server in it."""
    if isinstance(listed, EngineRelease):
        unpack(archive, folder)
        executable(folder, listed.program)
        return listed.program
    sources, work = folder / "sources", folder / "build"
    unpack(archive, sources)
    building.patch(sources / listed.folder, listed.patches)
    order = building.BuildOrder(
        sources=sources / listed.folder, work=work, log=folder.parent / "build.log", api=api, number=listed.build
    )
    building.build(order, progress.show).rename(folder / "llama-server")
    shutil.rmtree(sources)
    shutil.rmtree(work)
    return "llama-server"


def _check(
    engine: InstalledEngine, engines: InstalledEngines, config: Config, hardware: Hardware, *, chaos: bool
) -> None:
    """Raises NoEngineError if the engine does not start, finds no GPU, or fails a check of the selftest."""
    program = engines.program_of(engine)
    chosen = Binary(BinarySource.CONFIGURED, (str(program),))
    binaries = EngineBinaries([chosen], extra_environment=config.extra_environment)
    try:
        asyncio.run(binaries.choose())
    except NoEngineError as error:
        raise NoEngineError(f"{engine} does not run here: {binaries.aside[0].reason}") from error
    asyncio.run(binaries.look_for_devices())
    if engine.api != "cpu" and not binaries.uses_gpus:
        step = DRIVERS.get(engine.api, "Is the GPU's driver installed and loaded?")
        raise NoEngineError(f"{engine} runs, but finds no GPU", step)
    render.note(f"testing {engine} before it is used")
    folder = Path(tempfile.mkdtemp(prefix="oprel-"))
    checks = (*CHECKS, *FAULTS) if chaos else CHECKS
    for outcome in outcomes(checks, config.replace(engine_path=str(program)), folder):
        render.note(f"{'✓' if outcome.passed else '✗'} {outcome.name}")
        if not outcome.passed:
            raise NoEngineError(f"{engine} fails the selftest: {outcome.text}", f"The log: {folder}/daemon.log")
    shutil.rmtree(folder, ignore_errors=True)


def _refused(error: OprelError, engines: InstalledEngines, *, removed: bool) -> NoEngineError:
    stays = f"{engines.active or 'the engine that was used before'} stays in use."
    outcome = f"It was removed; {stays}" if removed else f"{stays[0].upper()}{stays[1:]}"
    return NoEngineError(error.message, *error.resolution_steps, outcome)


def _conclude(engine: InstalledEngine, config: Config) -> None:
    render.line(f"{engine} is installed and used from now on; `oprel engines rollback` goes back.")
    if config.engine_path:
        render.note(f"But the setting engine_path is {config.engine_path}, which comes first.")
    render.note("Models that are loaded keep their engine until they are loaded again (`oprel stop MODEL`).")


def roll_back(config: Config) -> None:
    """Use the engine before the last installation again. Raises ValidationError if there is none."""
    engines = InstalledEngines(config.engines_dir)
    if not engines.can_roll_back:
        raise ValidationError("there is no engine to go back to", f"`{INSTALL}` installs one.")
    with alone(config.engines_dir):
        left, back = engines.active, engines.roll_back()
    render.line(
        f"{back or _first(config)} is used from now on, instead of {left or 'the engine that oprel comes with'}."
    )
    render.note("Models that are loaded keep their engine until they are loaded again (`oprel stop MODEL`).")


def _first(config: Config) -> str:
    """The engine that is used where oprel installed none."""
    return str(next(iter(EngineBinaries.of(config).usable), "no engine"))


def uninstall(config: Config) -> None:
    """Remove the builds that oprel installed. Raises ValidationError if there are none."""
    engines = InstalledEngines(config.engines_dir)
    if not engines.folder.is_dir():
        raise ValidationError("oprel did not install llama.cpp, so it cannot remove it")
    with alone(config.engines_dir):
        engines.remove_all()
    render.line(f"removed what oprel installed; {_first(config)} is used from now on")


def update(config: Config) -> None:
    """Say whether the list has a better build than the one in use, and how to get it."""
    hardware, listing = this_machine(config.hardware), read_listing(config.engine_sources)
    used, apis = _in_use(config, hardware), apis_for(hardware.gpus)
    release = choose(listing.releases, this_target(hardware), apis).release
    source = max(listing.sources, key=lambda source: source.build, default=None)
    if release and used.is_worse_than(release):
        render.line(f"{release.title} (b{release.build}, {release.api}) can replace {used.title}: `{INSTALL}`")
    elif source and used.is_worse_than(source):
        render.line(f"b{source.build} can replace {used.title}, and must be built here: `{INSTALL} --build`")
    elif used.build is None:
        render.line(f"{used.title} was not installed by oprel: update it in the way in which you installed it")
    else:
        render.line(f"{used.title} is the newest that is known; a newer oprel may know more")


def _build_of_wheel() -> int:
    """llama.cpp's build number, with which the wheel's version ends."""
    last = wheel_version().rsplit(".", 1)[-1]
    return int(last) if last.isdecimal() else 0
