"""Builds llama-server from llama.cpp's sources, for this machine's CPU and one API of GPUs."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from oprel.core.configuration.environment import tool_environment
from oprel.core.exceptions import NoEngineError
from oprel.runtime.binaries.llama_cpp.listing import ComputeApi, SourcePatch

SHOWN = 4096  # bytes at the end of the log, in which the error is
# `[202/531] Building …` of ninja, `[ 38%] Building …` of make.
PROGRESS = re.compile(rb"^\[\s*(\d+)(?:/(\d+)|%)\]")

Show = Callable[[str, int, int], None]  # a step, what of it is done, and all of it


@dataclass(frozen=True, kw_only=True)
class BuildRecipe:
    """`tools` are programs, with the Debian package of each; `packages` are others that Debian needs for it."""

    flags: tuple[str, ...] = ()
    tools: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()


COMMON = BuildRecipe(
    flags=(
        *("-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=OFF", "-DGGML_NATIVE=ON"),
        # The engine downloads nothing, and oprel has an interface of its own.
        *("-DLLAMA_CURL=OFF", "-DLLAMA_OPENSSL=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF"),
        *("-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF"),
    ),
    tools={"cmake": "cmake", "ninja": "ninja-build", "c++": "g++"},
)
RECIPES: Mapping[ComputeApi, BuildRecipe] = {
    "cpu": BuildRecipe(),
    "vulkan": BuildRecipe(
        flags=("-DGGML_VULKAN=ON",), tools={"glslc": "glslc"}, packages=("libvulkan-dev", "spirv-headers")
    ),
    "cuda": BuildRecipe(flags=("-DGGML_CUDA=ON",), tools={"nvcc": "nvidia-cuda-toolkit"}),
    "rocm": BuildRecipe(
        flags=("-DGGML_HIP=ON",), tools={"hipcc": "hipcc"}, packages=("libhipblas-dev", "librocblas-dev")
    ),
    "metal": BuildRecipe(flags=("-DGGML_METAL=ON",)),
}


def missing_tools(api: ComputeApi) -> list[str]:
    """The programs that a build needs and that are not on PATH."""
    return [tool for tool in {**COMMON.tools, **RECIPES[api].tools} if not shutil.which(tool)]


def check_tools(api: ComputeApi) -> None:
    """Raises NoEngineError, which names the packages, if a program for the build is missing."""
    if missing := missing_tools(api):
        raise NoEngineError(f"a build for {api} needs {', '.join(missing)}", _how_to_install(api))


def patch(sources: Path, patches: Sequence[SourcePatch]) -> None:
    """Apply the list's patches. Raises NoEngineError if one does not fit the sources."""
    for each in patches:
        file = sources / each.file
        text = file.read_text()
        if each.find not in text:
            raise NoEngineError(f"a patch of {each.file} does not fit the sources", "Its entry in the list is wrong.")
        file.write_text(text.replace(each.find, each.replace, 1))


@dataclass(frozen=True, kw_only=True)
class BuildOrder:
    """What to build: llama.cpp's build `number`, for `api`. The work is done in the folder `work`."""

    sources: Path
    work: Path
    log: Path
    api: ComputeApi
    number: int


def build(order: BuildOrder, show: Show) -> Path:
    """Build llama-server, and return the program. Raises NoEngineError.

    Its libraries are part of it, but for those of the system and of the GPU's driver.
    """
    order.log.unlink(missing_ok=True)
    flags = (*COMMON.flags, f"-DLLAMA_BUILD_NUMBER={order.number}", *RECIPES[order.api].flags)
    work, jobs = str(order.work), str(os.cpu_count() or 1)
    _run(["cmake", "-S", str(order.sources), "-B", work, "-G", "Ninja", *flags], order, show, "configuring the build")
    _run(["cmake", "--build", work, "--target", "llama-server", "-j", jobs], order, show, "building")
    program = order.work / "bin" / "llama-server"
    if strip := shutil.which("strip"):  # the symbols are two thirds of it
        subprocess.run([strip, str(program)], check=False, capture_output=True)
    order.log.unlink()
    return program


def _run(command: Sequence[str], order: BuildOrder, show: Show, step: str) -> None:
    show(step, 0, 0)
    pipe, environment = subprocess.PIPE, tool_environment()
    with (
        order.log.open("ab") as log,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=subprocess.STDOUT, env=environment
        ) as process,
    ):
        for line in process.stdout or ():
            log.write(line)
            if at := PROGRESS.match(line):
                show(step, int(at[1]), int(at[2] or 100))
    if process.returncode:
        why = f"{step} failed: {_error_in(order.log)}"
        raise NoEngineError(why, _how_to_install(order.api), f"The log: {order.log}")


def _error_in(log: Path) -> str:
    """The first error at the end of the log, else its last line."""
    lines = [line.strip() for line in log.read_bytes()[-SHOWN:].decode(errors="replace").splitlines() if line.strip()]
    errors = [number for number, line in enumerate(lines) if re.search(r"\berror\b", line, re.IGNORECASE)]
    if not errors:
        return lines[-1] if lines else "it printed nothing"
    return " ".join(lines[errors[0] : errors[0] + 2])


def _how_to_install(api: ComputeApi) -> str:
    """What such a build needs, by the names of Debian's packages where those help."""
    tools = {**COMMON.tools, **RECIPES[api].tools}
    if sys.platform == "darwin":
        return "To install what it needs: `xcode-select --install` and `brew install cmake ninja`"
    packages = dict.fromkeys([*tools.values(), *COMMON.packages, *RECIPES[api].packages])
    return f"On Debian and Ubuntu: `apt install {' '.join(packages)}`; elsewhere, packages with the same content."
