"""Which build fits which machine, by the machine's description alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from oprel.runtime.binaries.llama_cpp.choosing import TargetMachine, apis_for, choose, misfit, this_target
from oprel.runtime.binaries.llama_cpp.listing import ComputeApi, EngineNeeds, EngineRelease
from oprel.telemetry.hardware.probing import Hardware

MACHINES = Path(__file__).parents[4] / "data" / "machines"


def target(machine: str, *, system: str = "linux", processor: str = "x86_64", glibc: str = "2.36") -> TargetMachine:
    hardware = Hardware.load(MACHINES / f"{machine}.json")
    return TargetMachine(system=system, machine=processor, glibc=glibc, hardware=hardware)


def release(
    api: ComputeApi, build: int = 1, *, system: str = "linux", processor: str = "x86_64", **needs
) -> EngineRelease:
    return EngineRelease(
        name=f"llama-{api}",
        version=str(build),
        build=build,
        file=f"llama-{api}-{build}.tar.gz",
        size_bytes=1,
        sha256="0" * 64,
        api=api,
        system=system,
        machine=processor,
        program="llama-server",
        needs=EngineNeeds(**needs),
    )


@pytest.mark.parametrize(
    ("machine", "apis"),
    [
        ("nvidia-24gb", ("cuda", "vulkan")),
        ("amd-integrated-16gb", ("rocm", "vulkan")),
        ("apple-16gb", ("metal",)),
        ("cpu-16gb", ("cpu",)),
    ],
)
def test_each_gpu_has_its_apis(machine: str, apis: tuple[str, ...]) -> None:
    assert apis_for(target(machine).hardware.gpus) == apis


def test_two_kinds_of_gpus_have_the_apis_of_both() -> None:
    both = [*target("nvidia-24gb").hardware.gpus, *target("amd-integrated-16gb").hardware.gpus]
    assert apis_for(both) == ("cuda", "vulkan", "rocm")


CUDA = release("cuda", 10)
NEWER_VULKAN = release("vulkan", 20)


@pytest.mark.parametrize(
    ("releases", "best"),
    [
        ([NEWER_VULKAN, CUDA], CUDA),  # the GPU's own API first
        ([CUDA, release("cuda", 11), release("cuda", 9)], release("cuda", 11)),
        ([release("cuda", 10, driver="600"), NEWER_VULKAN], NEWER_VULKAN),
        ([release("rocm"), release("metal"), release("cpu")], None),
        ([], None),
    ],
    ids=["own API", "newest", "what fits", "none for it", "none"],
)
def test_the_best_that_fits_is_chosen(releases: list[EngineRelease], best: EngineRelease | None) -> None:
    machine = target("nvidia-24gb")
    assert choose(releases, machine, apis_for(machine.hardware.gpus)).release == best


def test_each_rejected_build_has_its_reason() -> None:
    machine = target("nvidia-24gb", glibc="2.31")
    old, foreign = release("cuda", glibc="2.35"), release("vulkan", processor="aarch64")
    chosen = choose([old, foreign], machine, apis_for(machine.hardware.gpus))
    assert chosen.rejected == (
        (old, "it needs glibc 2.35, and this system has 2.31"),
        (foreign, "it is for linux on aarch64, and this is linux on x86_64"),
    )


@pytest.mark.parametrize(
    ("api", "needs", "why"),
    [
        ("cuda", {"driver": "575.64"}, []),
        ("cuda", {"driver": "576"}, ["it does not support NVIDIA GeForce RTX 4090 (it needs driver 576)"]),
        ("cuda", {"compute": "8.9"}, []),
        ("cuda", {"compute": "9.0"}, ["it does not support NVIDIA GeForce RTX 4090 (it needs compute capability 9.0)"]),
        ("cuda", {"features": ("avx2", "fma")}, []),
        ("cpu", {"features": ("avx512f", "avx2", "amx_int8")}, ["it needs a CPU with avx512f, amx_int8"]),
        ("vulkan", {"glibc": "2.36"}, []),
        ("vulkan", {"glibc": "2.38"}, ["it needs glibc 2.38, and this system has 2.36"]),
    ],
)
def test_what_a_build_needs(api: ComputeApi, needs: dict, why: list[str]) -> None:
    assert list(misfit(release(api, **needs), target("nvidia-24gb"))) == why


@pytest.mark.parametrize(("architectures", "fits"), [((), True), (("gfx1103",), True), (("gfx1100", "gfx90a"), False)])
def test_rocm_knows_some_gpus(architectures: tuple[str, ...], fits: bool) -> None:
    machine = target("amd-integrated-16gb")
    assert machine.hardware.gpus[0].architecture == "gfx1103"
    assert (not list(misfit(release("rocm", architectures=architectures), machine))) == fits


def test_what_the_driver_does_not_report_is_not_held_against_it() -> None:
    machine = target("nvidia-24gb")
    (gpu,) = machine.hardware.gpus
    silent = replace(machine, hardware=replace(machine.hardware, gpus=(replace(gpu, driver="", architecture=""),)))
    assert not list(misfit(release("cuda", driver="900", compute="12.0"), silent))


def test_another_c_library_lacks_glibc() -> None:
    machine = target("cpu-16gb", glibc="")
    assert list(misfit(release("cpu", glibc="2.31"), machine)) == ["it needs glibc 2.31, and this system has none"]


def test_this_machine_is_a_target() -> None:
    hardware = target("cpu-16gb").hardware
    here = this_target(hardware)
    assert here.hardware == hardware
    assert not list(misfit(release("cpu", system=here.system, processor=here.machine, glibc=here.glibc), here))
