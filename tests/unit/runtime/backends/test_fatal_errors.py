"""An engine that answers with an error of a computation that can never succeed again has ended."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import orjson
import pytest

from oprel.runtime.backends.local_engine import ProcessEmbedding, lost_if_fatal
from oprel.runtime.engine import EngineLost, EngineRefused
from oprel.runtime.exits import Exit, Reason
from oprel.runtime.http import EngineHttp, Reply
from oprel.runtime.supervisor.process import EngineProcess
from tests.fixtures.engine_replies import EngineReplies
from tests.fixtures.memory_engine import WorkLog

LOST = "decode() failed: vk::Queue::submit: ErrorDeviceLost"


@dataclass
class Process:
    """An engine that refuses everything with `message`, and notes as what it is killed."""

    message: str
    log: list[str] = field(default_factory=list)
    killed_as: list[Exit] = field(default_factory=list)

    @property
    def http(self) -> EngineHttp:
        error = {"error": {"code": 500, "message": self.message, "type": "server_error"}}
        return EngineHttp(EngineReplies(lambda path, content: Reply(500, orjson.dumps(error))))

    def kill_as(self, exit: Exit) -> None:
        self.killed_as.append(exit)

    @contextlib.contextmanager
    def at_work(self, about_tokens: int) -> Iterator[WorkLog]:
        yield WorkLog(lambda why: None)


def test_an_engine_that_lost_its_device_is_killed_and_its_request_survives() -> None:
    process = Process(LOST)
    with pytest.raises(EngineLost), lost_if_fatal(cast(EngineProcess, process)):
        raise EngineRefused(500, "server_error", LOST)
    assert [exit.reason for exit in process.killed_as] == [Reason.DEVICE_LOST]


def test_an_engine_that_refuses_one_request_lives() -> None:
    process = Process("the request is nonsense")
    with pytest.raises(EngineRefused), lost_if_fatal(cast(EngineProcess, process)):
        raise EngineRefused(400, "invalid_request_error", process.message)
    assert not process.killed_as


async def test_calls_for_vectors_survive_too() -> None:
    process = Process("Compute error.", ["ggml_vulkan: vk::Device::allocateMemory: ErrorOutOfDeviceMemory"])
    with pytest.raises(EngineLost):
        await ProcessEmbedding(cast(EngineProcess, process)).embed(["a text"], normalised=True)
    assert [exit.reason for exit in process.killed_as] == [Reason.OUT_OF_MEMORY]
