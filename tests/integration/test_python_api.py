"""Programs written for Ollama's client do the same with `import oprel as ollama`, against one live daemon."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import ollama as official
import pydantic
import pytest

import oprel
from oprel.core.names import GUIDE
from tests.conftest import DEADLINE, RunningDaemon

EXACT = {"temperature": 0}
SHORT = {"temperature": 0, "num_predict": 8}
QUESTION = "How do I list my models?"
PICTURE = "iVBORw0KGgo="
ASKED = [{"role": "user", "content": QUESTION}]


def answers_a_chat(ollama: Any, client: Any) -> object:
    reply = client.chat(model=GUIDE, messages=ASKED, options=EXACT, think=False)
    by_attribute = reply.message.role, reply.message.content, reply.done, reply.done_reason, reply.eval_count
    message = reply["message"]
    by_key = message["role"], message["content"], reply["done"], reply["done_reason"], reply["eval_count"]
    assert by_attribute == by_key
    assert "done" in reply and "nothing" not in reply and reply.get("nothing", 5) == 5
    with pytest.raises(KeyError):
        reply["nothing"]
    return by_attribute


def streams_a_chat(ollama: Any, client: Any) -> object:
    pieces = list(client.chat(GUIDE, ASKED, stream=True, options=SHORT, think=False))
    return [(piece["message"]["content"], piece.done) for piece in pieces]


def goes_on_with_a_conversation(ollama: Any, client: Any) -> object:
    messages: list[Any] = [ollama.Message(role="user", content="My name is Anna.")]
    messages.append(client.chat(GUIDE, messages, options=SHORT, think=False).message)
    messages.append({"role": "user", "content": "What is my name?"})
    return client.chat(GUIDE, messages, options=EXACT, think=False).message.content


def generates(ollama: Any, client: Any) -> object:
    options = ollama.Options(temperature=0, num_predict=8, seed=1)
    whole = client.generate(GUIDE, QUESTION, options=options, think=False)
    pieces = client.generate(model=GUIDE, prompt=QUESTION, options=options, think=False, stream=True)
    return whole.response, "".join(piece.response for piece in pieces)


def generates_in_other_ways(ollama: Any, client: Any) -> object:
    options = {"temperature": 0, "num_predict": 4}
    first = client.generate(GUIDE, "oprel", raw=True, options=options)
    other = client.generate(GUIDE, "oprel", template="{{ .System }}: {{ .Prompt }}", system="Hi", options=options)
    next_one = client.generate(GUIDE, "And then?", context=other.context, options=options, think=False)
    return first.response, first.get("context"), other.response, other["context"], next_one.response


def thinks(ollama: Any, client: Any) -> object:
    message = client.chat(GUIDE, ASKED, options=EXACT, think=True).message
    return message.thinking, message.content


def keeps_to_a_schema(ollama: Any, client: Any) -> object:
    class Answer(pydantic.BaseModel):
        command: str = pydantic.Field(max_length=20)

    reply = client.chat(
        GUIDE, ASKED, format=Answer.model_json_schema(), options=EXACT | {"num_predict": 64}, think=False
    )
    return Answer.model_validate_json(reply.message.content).command


def tells_probabilities(ollama: Any, client: Any) -> object:
    options = EXACT | {"num_predict": 3}
    reply = client.chat(GUIDE, ASKED, logprobs=True, top_logprobs=2, options=options, think=False)
    return [(one.token, round(one.logprob, 2), [top.token for top in one.top_logprobs]) for one in reply.logprobs]


def get_weather(city: str) -> str:
    """Get the weather of a city

    Args:
        city: the city's name
    """
    return f'{{"city": "{city}", "temperature": 17}}'


def calls_a_function(ollama: Any, client: Any) -> object:
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Oslo?"}]
    said = client.chat(GUIDE, messages, tools=[get_weather], options=EXACT, think=False).message
    (call,) = said.tool_calls
    result = get_weather(**call.function.arguments)
    messages += [said, {"role": "tool", "content": result, "tool_name": call.function.name}]
    final = client.chat(GUIDE, messages, tools=[get_weather], options=SHORT, think=False).message
    return call.function.name, call["function"]["arguments"], final.content, final.tool_calls


def embeds(ollama: Any, client: Any) -> object:
    many = client.embed(model=GUIDE, input=["hello", QUESTION]).embeddings
    one = client.embed(GUIDE, "hello", dimensions=8)["embeddings"]
    old = client.embeddings(GUIDE, "hello").embedding
    return [len(vector) for vector in many], [len(vector) for vector in one], len(old)


def looks_around(ollama: Any, client: Any) -> object:
    client.generate(GUIDE)
    listed = next(model for model in client.list().models if model.model == f"{GUIDE}:latest")
    loaded = next(model for model in client.ps()["models"] if model["name"] == f"{GUIDE}:latest")
    shown = client.show(GUIDE)
    assert isinstance(listed.modified_at, datetime) and isinstance(loaded.expires_at, datetime)
    return (
        (listed.model, listed.modified_at, listed.digest, listed.size, listed.size.human_readable()),
        (listed.details.family, listed.details.parameter_size, loaded.size.human_readable(), loaded.size_vram),
        (shown.modelinfo["general.architecture"], shown["modelinfo"] == shown.modelinfo, shown.capabilities),
        (shown.template, shown.parameters, shown.license, shown.modified_at),
    )


def meets_errors(ollama: Any, client: Any) -> object:
    found = []
    for ask in (
        lambda: client.chat("nonesuch", ASKED),
        lambda: list(client.generate("nonesuch", "hello", stream=True)),
        lambda: client.embed("nonesuch", "x"),
        lambda: client.show("nonesuch"),
        lambda: client.generate(GUIDE, "hello", options={"temperature": "hot"}),
        lambda: client.generate(GUIDE, "def f(", "return x"),
        lambda: client.generate(GUIDE, "what?", images=[b"no picture"]),
        lambda: client.chat(GUIDE, [{"role": "user", "content": "what?", "images": [PICTURE]}]),
        lambda: client.pull("nonesuch"),
        lambda: client.push(GUIDE),
        lambda: client.delete("nonesuch"),
        lambda: client.copy("nonesuch", "other"),
    ):
        with pytest.raises(ollama.ResponseError) as caught:
            ask()
        found.append((caught.value.error, caught.value.status_code))
    with pytest.raises(ConnectionError), ollama.Client(host="http://127.0.0.1:1") as nobody:
        nobody.list()
    return found


def keeps_a_library(ollama: Any, client: Any) -> object:
    progress = [line.status for line in client.create("mine", from_=GUIDE, system="Be kind.", stream=True)]
    copied = client.copy("mine", "other")
    shown = client.show("other")
    names = [model.model for model in client.list().models]
    gone = client.delete("mine"), client.delete("other")
    assert "mine:latest" in names and "other:latest" in names
    return (
        progress[-1],
        copied.status,
        copied["status"],
        shown.modelfile.count("Be kind."),
        [one.status for one in gone],
    )


def makes_a_model_of_a_file(ollama: Any, client: Any) -> object:
    file = Path(oprel.__file__).parent / "bundled" / f"{GUIDE}.gguf"
    digest = client.create_blob(file)
    again = client.create_blob(str(file))
    made = client.create("copied", files={file.name: digest}, parameters={**SHORT, "stop": ["."]})
    said = client.chat("copied", ASKED, think=False).message.content
    return digest == again, made.status, said, client.delete("copied").status


Program = Callable[[Any, Any], object]
PROGRAMS: list[Program] = [
    answers_a_chat,
    streams_a_chat,
    goes_on_with_a_conversation,
    generates,
    generates_in_other_ways,
    thinks,
    keeps_to_a_schema,
    tells_probabilities,
    calls_a_function,
    embeds,
    looks_around,
    meets_errors,
    keeps_a_library,
    makes_a_model_of_a_file,
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_a_program_does_the_same(shared_daemon: RunningDaemon, program: Program) -> None:
    with oprel.Client(shared_daemon.url) as ours, official.Client(shared_daemon.url) as theirs:
        assert program(oprel, ours) == program(official, theirs)


async def asks(client: Any) -> object:
    whole = await client.chat(GUIDE, ASKED, options=SHORT, think=False)
    stream = await client.chat(GUIDE, ASKED, options=SHORT, think=False, stream=True)
    pieces = [piece.message.content async for piece in stream]
    listed = [model["model"] for model in (await client.list())["models"]]
    return whole["message"]["content"], "".join(pieces), listed, await fails(client)


async def fails(client: Any) -> object:
    with pytest.raises((oprel.ResponseError, official.ResponseError)) as caught:
        await client.show("nonesuch")
    problem: Any = caught.value
    return problem.error, problem.status_code


async def test_a_program_of_coroutines_does_the_same(shared_daemon: RunningDaemon) -> None:
    async with oprel.AsyncClient(shared_daemon.url) as ours, official.AsyncClient(shared_daemon.url) as theirs:
        assert await asyncio.gather(asks(ours), asks(ours)) == await asyncio.gather(asks(theirs), asks(theirs))


SCRIPT = f"""
import PACKAGE as ollama
from PACKAGE import ChatResponse, chat

response: ChatResponse = chat(model={GUIDE!r}, messages={ASKED!r}, options={SHORT!r}, think=False)
print(response["message"]["content"])
for part in ollama.generate({GUIDE!r}, {QUESTION!r}, options={SHORT!r}, think=False, stream=True):
    print(part["response"], end="", flush=True)
try:
    ollama.chat("nonesuch")
except ollama.ResponseError as e:
    print("Error:", e.error, e.status_code)
"""


def test_a_script_needs_only_another_import(shared_daemon: RunningDaemon) -> None:
    address = {"OLLAMA_HOST": shared_daemon.url, "OPREL_HOST": shared_daemon.url}

    def printed(package: str) -> str:
        command = [sys.executable, "-c", SCRIPT.replace("PACKAGE", package)]
        environment = {**os.environ, **address}
        return subprocess.check_output(command, env=environment, text=True, timeout=DEADLINE)

    assert "Error: model 'nonesuch' not found 404" in printed("oprel") == printed("ollama")


def test_headers_and_arguments_of_httpx_are_followed(shared_daemon: RunningDaemon) -> None:
    with oprel.Client(shared_daemon.url, headers={"Origin": "https://stranger.example", "X-None": None}) as client:
        with pytest.raises(oprel.ResponseError) as caught:
            client.list()
    assert caught.value.status_code == 403
    with oprel.Client("http://nowhere.example", proxy="http://127.0.0.1:1") as client:
        with pytest.raises(oprel.ConnectError):
            client.list()
    with oprel.Client(shared_daemon.url, params={"x": "1"}, limits=httpx.Limits(max_connections=1)) as client:
        assert client.list().models


async def test_the_async_client_keeps_a_library_too(shared_daemon: RunningDaemon, tiny: Path) -> None:
    async with oprel.AsyncClient(shared_daemon.url) as client:
        digest = await client.create_blob(tiny)
        lines = [line async for line in await client.create("async", files={"tiny.gguf": digest}, stream=True)]
        assert lines[-1].status == "success"
        assert (await client.copy("async", "other-async")).status == "success"
        assert (await client.show("other-async")).details.format == "gguf"
        assert [(await client.delete(name)).status for name in ("async", "other-async")] == ["success"] * 2
