"""Requests of many clients at once, sent by the load generator in C, so that the clients take little of the machine."""

import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass

from tests.replay.programs import compiled

MARK = '"content":"'  # before each token of a chat, in every dialect
NUMBER = "{{N}}"  # as a value in a body: the number of the request


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
    address: str,
    path: str,
    body: Mapping[str, object],
    *,
    streams: int = 1,
    requests: int = 1,
    mark: str = MARK,
    stagger_ms: int = 0,
) -> Load:
    """`streams` clients that each send `requests` requests in turn, one begun `stagger_ms` after the other.

    Raises LoadFailed.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(json.dumps(body, separators=(",", ":")).replace(f'"{NUMBER}"', NUMBER) if body else "")
        file.flush()
        program, numbers = str(compiled("load_generator")), [str(streams), str(requests)]
        command = [program, address, path, file.name, *numbers, mark, str(stagger_ms)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise LoadFailed(f"{path}: {done.stderr.strip()}")
    load = Load(**json.loads(done.stdout))
    if load.failed:
        raise LoadFailed(f"{path}: {load.failed} of {load.requests} requests failed: {done.stderr.strip()}")
    return load
