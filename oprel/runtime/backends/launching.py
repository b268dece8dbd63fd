"""Builds the `Launch` of an engine from its backend and spec."""

import re
import secrets
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from oprel.runtime.backends.backend import Backend, Listens
from oprel.runtime.backends.dialect import Dialect
from oprel.runtime.backends.specs import LoadConstraints
from oprel.runtime.backends.translating import Translating
from oprel.runtime.binaries import on_socket
from oprel.runtime.http import EngineTransport
from oprel.runtime.spec import EngineSpec
from oprel.runtime.supervisor.child import RunDir
from oprel.runtime.supervisor.launch import Launch, untranslated, unwrapped
from oprel.runtime.supervisor.records import FOLDER

PYTHON = re.compile(r"(?:^#!|['\"\s])(/[^'\"\n]*python[\d.]*)")  # in the first lines of scripts that pip wrote
SCRIPT_BYTES = 512
NETWORK_FLAGS = ("--rpc",)
VENVS = ("venv", ".venv")


def launch(
    backend: Backend,
    spec: EngineSpec,
    label: str,
    *,
    load_timeout: float,
    stall_timeout: float,
    extra_environment: Mapping[str, str],
) -> Launch:
    """How to start the engine for `spec`. Timeouts in seconds. `extra_environment`: what the user has engines get."""
    folder = spec.socket.with_suffix(FOLDER) if backend.leaves_children else None
    texts = {spec.template_file: spec.files.chat_template} if spec.files.chat_template else {}
    runner = partial(_wrapped, spec.socket) if backend.listens is Listens.WRAPPED else unwrapped
    return Launch(
        label=label,
        run_dir=RunDir(
            socket=spec.socket,
            environment={**backend.environment(spec), **extra_environment},
            folder=folder,
            limits=replace(
                spec.limits, offline=backend.offline and not spec.port and not _needs_network(spec.extra_arguments)
            ),
            texts=texts,
        ),
        arguments=partial(backend.arguments, spec),
        load_timeout=load_timeout,
        stall_timeout=stall_timeout,
        runner=runner,
        rests=backend.rests,
        health_path=backend.health_path,
        translator=partial(_translated, backend.dialect, spec.load.num_ctx or 0) if backend.dialect else untranslated,
        port=spec.port,
        key=spec.key,
        uses_gpu=spec.gpus > 0,
    )


def _needs_network(arguments: Sequence[str]) -> bool:
    """Whether the user has the engine compute on other machines."""
    return any(argument.split("=")[0] in NETWORK_FLAGS for argument in arguments)


def reserve_port(backend: Backend, constraints: LoadConstraints) -> LoadConstraints:
    """Add a free port and a new key for an engine without Unix sockets; remove them for others."""
    if backend.listens is not Listens.PORT:
        return replace(constraints, port=0, key="")
    with socket.create_server(("127.0.0.1", 0)) as server:  # another program may take it: then the start fails
        return replace(constraints, port=server.getsockname()[1], key=secrets.token_urlsafe(32))


def _translated(
    dialect: Dialect, context: int, engine: EngineTransport, on_death: Callable[[str], None]
) -> EngineTransport:
    return Translating(engine, dialect, context, on_death)


def _wrapped(socket: Path, program: tuple[str, ...]) -> list[str]:
    return [python_of(Path(program[0])), on_socket.__file__, str(socket), *program]


def python_of(script: Path) -> str:
    """The Python for a script: the one in its first lines, else of a virtual environment beside it, else oprel's."""
    with script.open("rb") as file:
        start = file.read(SCRIPT_BYTES).decode(errors="replace")
    if match := PYTHON.search(start):
        return match[1]
    beside = (script.parent / venv / "bin" / "python" for venv in VENVS)
    return str(next((path for path in beside if path.is_file()), sys.executable))
