"""From a backend and a model to how the engine is started and talked to."""

import re
import secrets
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from oprel.runtime.backends.backend import Backend, Listens
from oprel.runtime.backends.dialect import Dialect
from oprel.runtime.backends.specs import LoadConstraints
from oprel.runtime.backends.translating import Translating
from oprel.runtime.binaries import on_socket
from oprel.runtime.spec import EngineSpec
from oprel.runtime.supervisor.child import RunDir
from oprel.runtime.supervisor.launch import Launch, Transport, alone, itself
from oprel.runtime.supervisor.records import FOLDER

PYTHON = re.compile(r"(?:^#!|['\"\s])(/[^'\"\n]*python[\d.]*)")  # in a script's first lines, as pip writes them
SCRIPT_BYTES = 512
VENVS = ("venv", ".venv")


def launch(backend: Backend, spec: EngineSpec, label: str, *, load_timeout: float, stall_timeout: float) -> Launch:
    """How to start the engine of `spec`. Timeouts in seconds."""
    folder = spec.socket.with_suffix(FOLDER) if backend.leaves_children else None
    runner = partial(_wrapped, spec.socket) if backend.listens is Listens.WRAPPED else alone
    return Launch(
        label=label,
        place=RunDir(spec.socket, backend.environment(spec), folder),
        arguments=partial(backend.arguments, spec),
        load_timeout=load_timeout,
        stall_timeout=stall_timeout,
        runner=runner,
        health_path=backend.health_path,
        translator=partial(_translated, backend.dialect, spec.load.num_ctx or 0) if backend.dialect else itself,
        port=spec.port,
        key=spec.key,
    )


def placed(backend: Backend, fixed: LoadConstraints) -> LoadConstraints:
    """With a port and a key for an engine that knows no Unix sockets, without for others."""
    if backend.listens is not Listens.PORT:
        return replace(fixed, port=0, key="")
    with socket.create_server(("127.0.0.1", 0)) as free:  # if another program takes it, the engine does not start
        return replace(fixed, port=free.getsockname()[1], key=secrets.token_urlsafe(32))


def _translated(dialect: Dialect, context: int, engine: Transport, on_death: Callable[[str], None]) -> Transport:
    return Translating(engine, dialect, context, on_death)


def _wrapped(socket: Path, program: tuple[str, ...]) -> list[str]:
    return [python_of(Path(program[0])), on_socket.__file__, str(socket), *program]


def python_of(script: Path) -> str:
    """The Python that runs a script: the one it names, one of a virtual environment beside it, else oprel's own."""
    with script.open("rb") as file:
        start = file.read(SCRIPT_BYTES).decode(errors="replace")
    if found := PYTHON.search(start):
        return found[1]
    beside = (script.parent / venv / "bin" / "python" for venv in VENVS)
    return str(next((path for path in beside if path.is_file()), sys.executable))
