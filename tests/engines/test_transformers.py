"""The same folder, served by real `transformers serve`."""

import os
import signal
from pathlib import Path

import openai
import pytest

from oprel.core.exceptions import UnsupportedError
from tests.conftest import RunningDaemon
from tests.engines.conftest import STARTING

ENGINE, ARGUMENTS = "transformers", ""
OPTIONS = {"temperature": 0, "num_predict": 20}
HELLO = [{"role": "user", "content": "hello"}]

pytestmark = [pytest.mark.engines, pytest.mark.timeout(STARTING)]


@pytest.fixture
def answer(folder: Path, daemon: RunningDaemon) -> str:
    with daemon.client as client:
        return client.chat(str(folder), HELLO, options=OPTIONS).message.content or ""


def test_it_answers_under_every_dialect(folder: Path, daemon: RunningDaemon, answer: str) -> None:
    model = str(folder)
    assert answer.strip()
    with daemon.client as client:
        pieces = list(client.chat(model, HELLO, options=OPTIONS, stream=True))
        assert "".join(piece.message.content or "" for piece in pieces) == answer
        assert pieces[-1].done_reason in ("stop", "length") and pieces[-1].eval_count
        assert client.generate(model, "hello", options=OPTIONS).response == answer
        assert "transformers" in str(client.engines().models[0].engine)
    with openai.OpenAI(base_url=f"{daemon.url}/v1", api_key="-") as v1:
        whole = v1.chat.completions.create(model=model, messages=HELLO, temperature=0, max_tokens=20)  # type: ignore[arg-type]
        assert whole.choices[0].message.content == answer


def test_what_it_cannot_do_is_said(folder: Path, daemon: RunningDaemon) -> None:
    with daemon.client as client, pytest.raises(UnsupportedError, match="hold an answer to a schema"):
        client.chat(str(folder), HELLO, format="json")


def test_an_engine_that_was_killed_is_replaced(folder: Path, daemon: RunningDaemon, answer: str) -> None:
    with daemon.client as client:
        pid = client.engines().models[0].pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        assert client.chat(str(folder), HELLO, options=OPTIONS).message.content == answer
