"""The programs in C of this folder, compiled when they are first needed."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror")


class NoCompilerError(RuntimeError):
    """This machine has no C compiler."""


def compiler() -> str | None:
    return shutil.which("cc")


def compiled(name: str) -> Path:
    """The program made from `name`.c, which a folder outside the checkout keeps as long as the source is the same.

    Raises NoCompilerError.
    """
    program = compiler()
    if not program:
        raise NoCompilerError(f"{name} is written in C, and there is no cc on PATH; install gcc or clang")
    source = HERE / f"{name}.c"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"oprel-replay-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    target = folder / f"{name}-{digest}"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=folder) as unfinished:
            made = Path(unfinished, name)
            subprocess.run([program, *FLAGS, "-o", str(made), str(source)], check=True)
            made.replace(target)
    return target
