"""`guide`, the model that comes with the package, does over the API what a model of its kind must."""

import json
import math
from collections.abc import Iterator
from typing import Any

import ollama
import pytest

from oprel.core.names import GUIDE
from tests.conftest import RunningDaemon

EXACT = {"temperature": 0}
LIST = "How do I list my models?"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
def client(shared_daemon: RunningDaemon) -> Iterator[ollama.Client]:
    with ollama.Client(host=shared_daemon.url) as client:
        yield client


def ask(client: ollama.Client, text: str, **extras: Any) -> Any:
    return client.chat(GUIDE, [{"role": "user", "content": text}], **{"options": EXACT, "think": False, **extras})


def test_it_says_what_it_can(client: ollama.Client):
    assert client.show(GUIDE).capabilities == ["completion", "tools", "thinking"]


@pytest.mark.parametrize(
    ("question", "command"),
    [
        (LIST, "oprel list"),
        ("How do I see which models are loaded?", "oprel ps"),
        ("How do I unload a model?", "oprel stop"),
        ("How do I start the daemon?", "oprel serve"),
    ],
)
def test_it_knows_the_commands(client: ollama.Client, question: str, command: str):
    assert f"`{command}" in (ask(client, question).message.content or "")


def test_its_answers_end_by_themselves_or_where_they_must(client: ollama.Client):
    assert ask(client, LIST).done_reason == "stop"
    assert ask(client, LIST, options={**EXACT, "num_predict": 3}).done_reason == "length"


def test_a_stop_string_ends_an_answer(client: ollama.Client):
    whole = ask(client, LIST).message.content or ""
    cut = ask(client, LIST, options={**EXACT, "stop": ["list"]})
    assert (cut.message.content, cut.done_reason) == (whole[: whole.index("list")], "stop")


def test_the_same_seed_gives_the_same_text(client: ollama.Client):
    wild = {"temperature": 5.0, "top_p": 1.0, "num_predict": 20}  # it is too sure of itself for less
    texts = [ask(client, "hello", options={**wild, "seed": seed}).message.content for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_it_recalls_what_it_was_told(client: ollama.Client):
    told = [{"role": "user", "content": "My name is Anna."}]
    told.append(dict(client.chat(GUIDE, told, options=EXACT, think=False).message))
    told.append({"role": "user", "content": "What is my name?"})
    assert "Anna" in (client.chat(GUIDE, told, options=EXACT, think=False).message.content or "")


def test_it_calls_the_tool_that_fits(client: ollama.Client):
    (call,) = ask(client, "What is the weather in Oslo?", tools=[WEATHER]).message.tool_calls
    assert (call.function.name, call.function.arguments) == ("get_weather", {"city": "Oslo"})


def test_it_calls_no_tool_when_none_fits(client: ollama.Client):
    message = ask(client, LIST, tools=[WEATHER]).message
    assert not message.tool_calls
    assert "oprel list" in (message.content or "")


def test_it_uses_what_a_tool_said(client: ollama.Client):
    asked = [{"role": "user", "content": "What is the weather in Oslo?"}]
    call = dict(client.chat(GUIDE, asked, tools=[WEATHER], options=EXACT, think=False).message)
    result = {"role": "tool", "content": '{"temperature": 17}', "tool_name": "get_weather"}
    reply = client.chat(GUIDE, [*asked, call, result], tools=[WEATHER], options=EXACT, think=False)
    assert "17" in (reply.message.content or "")
    assert not reply.message.tool_calls


@pytest.mark.parametrize("stream", [True, False])
def test_it_thinks_when_asked_to_and_not_else(client: ollama.Client, stream: bool):
    def told(think: bool) -> list[str]:
        reply = ask(client, LIST, think=think, stream=stream)
        messages = [piece.message for piece in (reply if stream else [reply])]
        return ["".join(message.get(key) or "" for message in messages) for key in ("thinking", "content")]

    thought, answer = told(True)
    assert thought and "oprel list" in answer
    assert "think>" not in thought + answer
    assert told(False)[0] == ""


def test_it_keeps_to_a_format(client: ollama.Client):
    schema = {"type": "object", "properties": {"command": {"type": "string", "maxLength": 20}}, "required": ["command"]}
    answer = ask(client, LIST, format=schema).message.content or ""
    assert len(json.loads(answer)["command"]) <= 20


def test_its_logprobs_are_those_of_what_it_said(client: ollama.Client):
    reply = ask(client, LIST, logprobs=True, top_logprobs=2)
    told = reply.logprobs or ()
    assert "".join(one.token for one in told).startswith(reply.message.content or "?")
    assert all(
        one.logprob <= 0 and one.logprob == max(other.logprob for other in one.top_logprobs or ()) for one in told
    )


def test_it_embeds(client: ollama.Client):
    vectors = client.embed(GUIDE, [LIST, LIST, "hello"]).embeddings
    assert [math.isclose(math.hypot(*vector), 1.0, abs_tol=1e-5) for vector in vectors] == [True] * 3
    assert vectors[0] == pytest.approx(vectors[1], abs=1e-3)
    assert vectors[0] != pytest.approx(vectors[2], abs=1e-2)


@pytest.mark.parametrize("question", ["What is the capital of France?", "Write a poem about autumn.", "2 + 2 * 7 = ?"])
def test_it_never_pretends(client: ollama.Client, question: str):
    assert "tiny" in (ask(client, question).message.content or "")
