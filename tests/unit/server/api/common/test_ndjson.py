"""Answers as lines of JSON."""

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from oprel.api_models import ConversationResponse, GenerateResponse
from oprel.core.completion import Chunk, Finish, Usage
from oprel.core.exceptions import OprelError
from oprel.server.api.common.encode import json_bytes
from oprel.server.api.common.errors import ErrorEncoder, flat_error, nested_error
from oprel.server.api.common.ndjson import NdjsonEncoder
from oprel.server.inference.completions import Done
from oprel.utils.text import timestamp

DONE = Done(text="ab", finish=Finish.STOP, usage=Usage(prompt_tokens=3, completion_tokens=2), load_ns=1, total_ns=5)
NOT_STORED: Mapping[str, object] = {"remembered": False}


def encoder(encode_error: ErrorEncoder = flat_error) -> NdjsonEncoder:
    def encode(chunk: Chunk) -> GenerateResponse:
        thinking = chunk.reasoning or None
        return GenerateResponse(model="tiny", created_at=timestamp(), response=chunk.text, thinking=thinking)

    return NdjsonEncoder(encode, encode_error)


def line(content: bytes) -> Any:
    assert content.endswith(b"\n") and content.count(b"\n") == 1
    return json.loads(content)


def test_each_piece_is_a_line() -> None:
    assert line(encoder().chunk(Chunk("a")))["response"] == "a"
    assert encoder().chunk(Chunk()) == b""


@given(text=st.text(min_size=1))
def test_a_line_of_text_is_what_the_wire_type_makes_of_it(text: str) -> None:
    made = line(encoder().chunk(Chunk(text)))
    dated = GenerateResponse(model="tiny", created_at=made["created_at"], response=text)
    assert list(made.items()) == list(json.loads(json_bytes(dated)).items())


def test_a_piece_that_is_more_than_text_is_a_line_too() -> None:
    pieces = encoder()
    assert line(pieces.chunk(Chunk("a", "why")))["thinking"] == "why"
    assert "thinking" not in line(pieces.chunk(Chunk("a")))


def test_the_last_line_has_the_counts() -> None:
    last = line(encoder().done(DONE))
    assert (last["done"], last["done_reason"], last["response"]) == (True, "stop", "")
    assert (last["prompt_eval_count"], last["eval_count"], last["total_duration"]) == (3, 2, 5)


def test_one_object_has_the_whole_text() -> None:
    whole = json.loads(encoder().whole([Chunk("a"), Chunk("b")], DONE))
    assert (whole["response"], whole["done"]) == ("ab", True)


def test_a_broken_answer_ends_with_the_error_in_the_form_of_its_dialect() -> None:
    error = OprelError("it broke")
    assert line(encoder().broken(error))["error"] == "it broke"
    assert line(encoder(nested_error).broken(error))["error"]["message"] == "it broke"


def test_a_complete_answer_is_remembered_once() -> None:
    texts: list[str] = []

    def remember(text: str) -> Mapping[str, object]:
        texts.append(text)
        return NOT_STORED

    def encode(chunk: Chunk) -> ConversationResponse:
        return ConversationResponse(model="tiny", created_at=timestamp(), response=chunk.text, conversation_id="c")

    remembering = NdjsonEncoder(encode, flat_error, remember)
    assert line(remembering.chunk(Chunk("a"))).get("remembered") is None
    assert line(remembering.done(DONE))["remembered"] is False
    assert texts == ["ab"]
