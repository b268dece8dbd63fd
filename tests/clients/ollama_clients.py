"""Ollama's official clients behind one face: a method and its fields in, plain JSON out, a stream as a list."""

import asyncio
import fcntl
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ollama
import pytest

FOLDER = Path(__file__).parent
PACKAGES = FOLDER / "node_modules"

Call = Callable[..., Any]


@dataclass
class Refused(Exception):
    """What each client calls a ResponseError. `status` is -1 for an error in a stream, as in the Python client."""

    text: str
    status: int


def python(host: str) -> Call:
    def call(method: str, **fields: Any) -> Any:
        with ollama.Client(host=host) as client:
            try:
                reply = getattr(client, method)(**spelled(fields))
                return [plain(piece) for piece in reply] if fields.get("stream") else plain(reply)
            except ollama.ResponseError as error:
                raise Refused(error.error, error.status_code) from error

    return call


def python_async(host: str) -> Call:
    async def answer(method: str, fields: dict[str, Any]) -> Any:
        async with ollama.AsyncClient(host=host) as client:
            reply = await getattr(client, method)(**spelled(fields))
            return [plain(piece) async for piece in reply] if fields.get("stream") else plain(reply)

    def call(method: str, **fields: Any) -> Any:
        try:
            return asyncio.run(answer(method, fields))
        except ollama.ResponseError as error:
            raise Refused(error.error, error.status_code) from error

    return call


def javascript(host: str) -> Call:
    install_packages()

    def call(method: str, *, abort_after: int | None = None, **fields: Any) -> Any:
        asked = {"host": host, "method": method, "request": fields, "abort_after": abort_after}
        ended = subprocess.run(
            [node(), "driver.mjs"], cwd=FOLDER, input=json.dumps(asked), capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
        outcome = json.loads(ended.stdout)
        if error := outcome.get("error"):
            assert error["name"] in ("ResponseError", "Error"), error  # the second for one in a stream
            raise Refused(error["message"], error.get("status_code", -1))
        return outcome.get("reply")

    return call


BY_NAME = {"ollama-python": python, "ollama-python-async": python_async, "ollama-js": javascript}


def spelled(fields: dict[str, Any]) -> dict[str, Any]:
    """`from` is a keyword of Python."""
    return {"from_" if name == "from" else name: value for name, value in fields.items()}


def plain(reply: Any) -> Any:
    return reply if isinstance(reply, str) else reply.model_dump(mode="json", by_alias=True, exclude_none=True)


def node() -> str:
    found = shutil.which("node")
    if not found:
        pytest.skip("no node on this machine")
    return found


def install_packages() -> None:
    """What package-lock.json says, once for all workers and until it changes."""
    node()
    wanted = (FOLDER / "package-lock.json").read_text()
    stamp = PACKAGES / "installed"
    with (FOLDER / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        stamp.write_text(wanted)
