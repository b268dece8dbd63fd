"""Which listed build fits a machine, and why the others do not. Pure, but for `this_target`."""

import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from oprel.runtime.binaries.llama_cpp.listing import ComputeApi, EngineRelease
from oprel.telemetry.hardware.devices import GPU, Vendor
from oprel.telemetry.hardware.probing import Hardware

# Best first.
APIS: Mapping[Vendor, tuple[ComputeApi, ...]] = {
    "nvidia": ("cuda", "vulkan"),
    "amd": ("rocm", "vulkan"),
    "intel": ("vulkan",),
    "apple": ("metal",),
}


@dataclass(frozen=True, kw_only=True)
class TargetMachine:
    """What a build must fit. `glibc` is its version, "" where there is another C library."""

    system: str
    machine: str
    glibc: str
    hardware: Hardware


@dataclass(frozen=True)
class ReleaseChoice:
    """The build to install, None if none fits, and why each of the others does not, in words."""

    release: EngineRelease | None
    rejected: tuple[tuple[EngineRelease, str], ...]


def this_target(hardware: Hardware) -> TargetMachine:
    """This machine's system, with that hardware."""
    library, version = platform.libc_ver()
    glibc = version if library == "glibc" else ""
    return TargetMachine(system=sys.platform, machine=platform.machine(), glibc=glibc, hardware=hardware)


def apis_for(gpus: Sequence[GPU]) -> tuple[ComputeApi, ...]:
    """The APIs that reach these GPUs, best first; the CPU where there is none."""
    return tuple(dict.fromkeys(api for gpu in gpus for api in _apis_of(gpu))) or ("cpu",)


def choose(releases: Sequence[EngineRelease], target: TargetMachine, apis: Sequence[ComputeApi]) -> ReleaseChoice:
    """The best build for one of `apis`: for the first of them, if possible, and the newest."""
    candidates = sorted(
        (release for release in releases if release.api in apis),
        key=lambda release: (apis.index(release.api), -release.build),
    )
    misfits = [(release, "; ".join(misfit(release, target))) for release in candidates]
    best = next((release for release, why in misfits if not why), None)
    return ReleaseChoice(best, tuple((release, why) for release, why in misfits if why))


def misfit(release: EngineRelease, target: TargetMachine) -> Iterator[str]:
    """Why the build does not run on the machine, each reason as a sentence without its period."""
    needs, cpu = release.needs, target.hardware.cpu
    if (release.system, release.machine) != (target.system, target.machine):
        yield f"it is for {release.system} on {release.machine}, and this is {target.system} on {target.machine}"
        return
    if needs.glibc and _version(target.glibc) < _version(needs.glibc):
        yield f"it needs glibc {needs.glibc}, and this system has {target.glibc or 'none'}"
    if missing := [feature for feature in needs.features if feature not in cpu.features]:
        yield f"it needs a CPU with {', '.join(missing)}"
    reached = [gpu for gpu in target.hardware.gpus if release.api in _apis_of(gpu)]
    if reached and not any(_suits(gpu, release) for gpu in reached):
        yield f"it does not support {reached[0].name}{_needs_of_gpus(release)}"


def _apis_of(gpu: GPU) -> tuple[ComputeApi, ...]:
    return APIS.get(gpu.vendor, ("vulkan",))


def _suits(gpu: GPU, release: EngineRelease) -> bool:
    """Whether the build supports the GPU. What the driver does not report is not held against it."""
    needs = release.needs
    if gpu.vendor == "nvidia":
        return _enough(gpu.driver, needs.driver) and _enough(gpu.architecture, needs.compute)
    return not (needs.architectures and gpu.architecture) or gpu.architecture in needs.architectures


def _enough(version: str, least: str) -> bool:
    return not (version and least) or _version(version) >= _version(least)


def _needs_of_gpus(release: EngineRelease) -> str:
    needs = release.needs
    wants = [
        f"driver {needs.driver}" if needs.driver else "",
        f"compute capability {needs.compute}" if needs.compute else "",
        " or ".join(needs.architectures),
    ]
    return f" (it needs {', '.join(filter(None, wants))})" if any(wants) else ""


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))
