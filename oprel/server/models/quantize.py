"""Quantizes models with llama.cpp's own program, if it is installed."""

import asyncio
import os
import re
import shutil
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

from oprel.api_models import ProgressResponse
from oprel.core.config import Config
from oprel.core.configuration.environment import child_environment
from oprel.core.exceptions import OprelError, UnsupportedError, ValidationError
from oprel.core.models.blobs import Blobs
from oprel.formats.ggml_types import FILE_TYPES
from oprel.formats.gguf import GGUFFile
from oprel.formats.headers.other_header import OtherHeader
from oprel.runtime.binaries.engine_binaries import BinarySource, find_binaries
from oprel.runtime.confinement import before_exec

PROGRAM = "llama-quantize"
WHOLE = ("F32", "F16", "BF16")  # the types that may be quantized; quantizing twice would lose twice
LAST_LINES = 3  # of the program's output, quoted in an error


def prepare(config: Config, header: GGUFFile, kind: str) -> Path:
    """The program to quantize a model with that header to `kind`, such as "q4_K_M".

    Raises ValidationError for an impossible conversion, UnsupportedError for other formats than GGUF and if no program
    is installed.
    """
    if isinstance(header, OtherHeader):
        raise UnsupportedError(
            "only GGUF models can be quantized", "Convert it first with llama.cpp's convert_hf_to_gguf.py."
        )
    kinds = sorted(set(FILE_TYPES.values()))
    if kind.upper() not in kinds:
        raise ValidationError(f"unsupported quantization type {kind.upper()} - supported types are {', '.join(kinds)}")
    if header.quantization not in WHOLE:
        raise ValidationError(
            f"quantization is only supported for F16, BF16 and F32 models, and this one is {header.quantization}",
            "Start from the unquantized model.",
        )
    for path in _places(config):
        if os.access(path, os.X_OK):
            return path
    raise UnsupportedError(
        "no quantizer is installed",
        f"Put llama.cpp's {PROGRAM} on PATH or beside the engine, or use an already quantized model.",
    )


def _places(config: Config) -> Iterator[Path]:
    """Possible paths of the program: beside an engine, on PATH."""
    for engine in find_binaries(config):
        if engine.source is not BinarySource.WHEEL:
            yield Path(engine.command[0]).with_name(PROGRAM)
    if on_path := shutil.which(PROGRAM):
        yield Path(on_path)


async def quantize(
    program: Path, blobs: Blobs, header: GGUFFile, kind: str
) -> AsyncGenerator[ProgressResponse | Path, None]:
    """Yields progress in bytes of the source, and finally the new blob. A cancelled run leaves nothing behind.

    Raises OprelError with the program's last output if it fails.
    """
    status = f"quantizing {header.quantization} model to {kind.upper()}"
    with blobs.temporary() as target:
        process = await _started(program, str(header.path), str(target), kind.upper())
        last: list[str] = []
        try:
            async for line in _lines(process):
                last = [*last, line][-LAST_LINES:]
                if step := re.match(r"\[\s*(\d+)/\s*(\d+)\]", line):
                    done = header.size_bytes * int(step[1]) // int(step[2])
                    yield ProgressResponse(status=status, total=header.size_bytes, completed=done)
            if await process.wait() != 0:
                raise OprelError(f"{program.name} failed: {' '.join(last) or process.returncode}")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        yield await asyncio.to_thread(blobs.adopt, target)


async def _started(program: Path, *arguments: str) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *(str(program), *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=child_environment(),
            preexec_fn=before_exec.preparation(dies_with_parent=True, offline=True),
        )
    except OSError as error:
        raise OprelError(f"{program} cannot be started: {error.strerror}") from error


async def _lines(process: asyncio.subprocess.Process) -> AsyncGenerator[str, None]:
    assert process.stdout
    while line := await process.stdout.readline():
        yield line.decode(errors="replace").strip()
