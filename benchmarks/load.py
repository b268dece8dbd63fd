"""Requests of many clients at once, sent by the load generator in C, so that the clients take little of the machine."""

import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.replay.programs import compiled

MARK = '"content":"'  # before each token of a chat, in every dialect
NUMBER = "{{N}}"  # in a body: the number of the request


class LoadFailed(RuntimeError):
    """A request failed, or the server went silent."""


@dataclass(frozen=True)
class Load:
    """What came back: `first` (token) and `total` by request, `gaps` between tokens. Milliseconds; `seconds` of all."""

    requests: int
    failed: int
    tokens: int
    seconds: float
    first: list[float]
    total: list[float]
    gaps: list[float]

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds


def send(
    address: str, path: str, body: Mapping[str, object], *, streams: int = 1, requests: int = 1, mark: str = MARK
) -> Load:
    """`streams` clients that each send `requests` requests in turn. Raises LoadFailed."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(json.dumps(body, separators=(",", ":")) if body else "")
        file.flush()
        command = [compiled("load_generator"), address, path, file.name, str(streams), str(requests), mark]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise LoadFailed(f"{path}: {done.stderr.strip()}")
    load = Load(**json.loads(done.stdout))
    if load.failed:
        raise LoadFailed(f"{path}: {load.failed} of {load.requests} requests failed: {done.stderr.strip()}")
    return load


def unix(socket: Path) -> str:
    return f"unix:{socket}"
