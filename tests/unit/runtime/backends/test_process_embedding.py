"""What an engine process is asked for vectors, and what that tells its hang detector."""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
import pytest

from oprel.runtime.backends.local_engine import MARKS, ProcessEmbedding
from oprel.runtime.engine import EngineRefused
from oprel.runtime.http import EngineHttp, Reply
from oprel.runtime.supervisor.process import EngineProcess
from tests.fixtures.engine_replies import EngineReplies
from tests.fixtures.memory_engine import WorkLog

AROUND = [101, 102]  # the tokens that open and close a text


@dataclass
class Process:
    """An engine whose tokens are words, `joined` or one text at a time."""

    joined: bool = True
    work: WorkLog = field(default_factory=lambda: WorkLog(lambda why: None))
    about_tokens: int = 0
    asked: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def http(self) -> EngineHttp:
        return EngineHttp(EngineReplies(self._answer))

    def _answer(self, path: str, content: bytes) -> Reply:
        body = json.loads(content)
        self.asked.append((path, body))
        if path == "/v1/embeddings":
            data = [{"index": 0, "embedding": "AACAPwAAAEA="}]  # 1.0 and 2.0
            return Reply(200, orjson.dumps({"data": data, "usage": {"prompt_tokens": 3}}))
        parts = body["content"] if isinstance(body["content"], list) else [body["content"]]
        tokens = [token for part in parts for token in ([part] if part == -1 else range(len(part.split())))]
        tokens = [token for token in tokens if self.joined or token != -1]
        return Reply(200, orjson.dumps({"tokens": [*AROUND, *tokens] if body["add_special"] else tokens}))

    @contextlib.contextmanager
    def at_work(self, about_tokens: int) -> Iterator[WorkLog]:
        self.about_tokens = about_tokens
        yield self.work


Made = Callable[..., tuple[Process, ProcessEmbedding]]


@pytest.fixture
def made() -> Made:
    def make(**changed: Any) -> tuple[Process, ProcessEmbedding]:
        process = Process(**changed)
        return process, ProcessEmbedding(cast(EngineProcess, process))

    return make


async def test_vectors_are_read_from_base64_and_show_that_the_engine_moves(made: Made) -> None:
    process, embedding = made()
    result = await embedding.embed(["a text"], normalised=False)
    assert (result.vectors, result.prompt_tokens) == (((1.0, 2.0),), 3)
    assert process.asked[0][1] == {"input": ["a text"], "encoding_format": "base64", "embd_normalize": -1}
    assert (process.about_tokens, process.work.moves) == (6 + MARKS, 1)


async def test_texts_are_counted_by_one_call_and_what_is_around_them_once(made: Made) -> None:
    process, embedding = made()
    for _ in range(2):
        assert await embedding.count(["one", "two words", (1, 2, 3, 4), ""]) == [3, 4, 4, 2]
    assert [body["content"] for _, body in process.asked] == ["", *[["one", -1, "two words", -1, "", -1]] * 2]


async def test_an_engine_that_takes_one_text_at_a_time_counts_none(made: Made) -> None:
    _, embedding = made(joined=False)
    with pytest.raises(EngineRefused, match="one text at a time"):
        await embedding.count(["one", "two"])
