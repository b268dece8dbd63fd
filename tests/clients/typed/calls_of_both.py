"""The calls that oprel has from Ollama's client, as a program uses them. Type checkers read it; it is never run.

A test checks it again with `import ollama`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import oprel as ollama


def get_weather(city: str, days: int = 1) -> str:
    """The weather of a city.

    Args:
        city: the city's name
        days: how many days ahead
    """
    return f"17 degrees in {city} in {days} days"


FUNCTIONS: dict[str, Callable[..., str]] = {"get_weather": get_weather}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}


def chats() -> str:
    reply = ollama.chat("guide", [{"role": "user", "content": "hello"}])
    ollama.chat(model="guide", messages=[ollama.Message(role="user", content="hello")])
    reply = ollama.chat(
        "guide",
        [{"role": "user", "content": "hello", "images": ["a.png", b"..."]}],
        tools=[TOOL, get_weather, ollama.Tool()],
        think="high",
        logprobs=True,
        top_logprobs=2,
        format=SCHEMA,
        options={"temperature": 0, "num_ctx": 4096, "stop": ["."]},
        keep_alive="5m",
    )
    ollama.chat("guide", format="json", options=ollama.Options(temperature=0, stop=["."]), think=True, keep_alive=0)
    for piece in ollama.chat("guide", [{"role": "user", "content": "hello"}], stream=True):
        print(piece.message.content, piece["message"]["content"], end="")
    role: str = reply.message.role
    counted = (reply.eval_count or 0) + (reply.prompt_eval_count or 0) + (reply.total_duration or 0)
    return f"{role} {reply.message.content} {reply.message.thinking} {reply.done} {reply.done_reason} {counted}"


def calls_tools() -> None:
    messages: list[Mapping[str, Any] | ollama.Message] = [{"role": "user", "content": "What is the weather in Oslo?"}]
    reply = ollama.chat("guide", messages, tools=[get_weather])
    messages.append(reply.message)
    for call in reply.message.tool_calls or []:
        result = show(call) or get_weather(**call.function.arguments)
        messages.append({"role": "tool", "content": result, "tool_name": call.function.name})
    if reply.message.tool_calls:
        print(ollama.chat("guide", messages=messages, tools=[get_weather]).message.content)


def show(call: ollama.Message.ToolCall) -> str:
    function: ollama.Message.ToolCall.Function = call.function
    city: str = function.arguments["city"]
    for name, value in function.arguments.items():
        print(city, name, value)
    chosen = FUNCTIONS.get(function.name)
    return chosen(**function.arguments) if chosen else ""


def generates() -> str | None:
    reply = ollama.generate("guide", "hello")
    reply = ollama.generate(
        model="guide",
        prompt="def add(",
        suffix="return a + b",
        system="Be brief.",
        template="{{ .Prompt }}",
        context=[1, 2],
        raw=False,
        images=["a.png", b"...", ollama.Image(value=b"...")],
        think=False,
        logprobs=True,
        top_logprobs=1,
        format="json",
        options={"seed": 1},
        keep_alive=60.0,
    )
    for piece in ollama.generate("guide", "hello", stream=True):
        print(piece.response, piece["response"], piece.done)
    return reply.response


def embeds() -> Sequence[Sequence[float]]:
    one = ollama.embeddings("guide", "hello", options={"num_ctx": 512}, keep_alive=0).embedding
    many = ollama.embed("guide", ["the sun", "the moon"], truncate=True, dimensions=8, options={}, keep_alive="1h")
    ollama.embed(model="guide", input="the sun")
    return [*many.embeddings, one]


def keeps_models() -> None:
    for model in ollama.list().models:
        print(model.model, model.size, model.modified_at, model.digest, model.details)
    for loaded in ollama.ps().models:
        print(loaded.model, loaded.size, loaded.size_vram, loaded.expires_at)
    shown = ollama.show("guide")
    print(shown.modelinfo, shown.template, shown.parameters, shown.capabilities, shown.license)
    print(ollama.pull("qwen3:0.6b", insecure=False).status)
    for progress in ollama.pull("qwen3:0.6b", stream=True):
        print(progress.status, progress.completed, progress.total, progress.digest)
    for progress in ollama.push("me/model", insecure=True, stream=True):
        print(progress.status)
    digest: str = ollama.Client().create_blob("m.gguf")
    ollama.create("mine", files={"m.gguf": digest}, quantize="q4_K_M")
    for progress in ollama.create(
        "mine",
        from_="guide",
        system="Be brief.",
        template="{{ .Prompt }}",
        license=["MIT"],
        adapters={"a.gguf": digest},
        parameters={"temperature": 0},
        messages=[{"role": "user", "content": "hello"}],
        stream=True,
    ):
        print(progress.status)
    print(ollama.copy("guide", "other").status, ollama.delete("other").status)


def handles_errors() -> int:
    try:
        ollama.chat("no-such-model")
    except ollama.RequestError as error:
        print(error.error)
    except ollama.ResponseError as error:
        print(error, error.error)
        return error.status_code
    return 0


def uses_a_client() -> None:
    client = ollama.Client("http://127.0.0.1:11435", headers={"Authorization": "Bearer key"}, timeout=60)
    print(client.chat("guide", [{"role": "user", "content": "hello"}], options={"temperature": 0}).message.content)
    print(client.list().models, client.ps().models)


async def awaits() -> None:
    client = ollama.AsyncClient(host="http://127.0.0.1:11435")
    reply = await client.chat("guide", [{"role": "user", "content": "hello"}], tools=[get_weather])
    print(reply.message.content, [get_weather(**call.function.arguments) for call in reply.message.tool_calls or ()])
    async for piece in await client.chat("guide", [{"role": "user", "content": "hello"}], stream=True):
        print(piece.message.content)
    async for part in await client.generate("guide", "hello", stream=True, options=ollama.Options(seed=1)):
        print(part.response)
    async for progress in await client.pull("qwen3:0.6b", stream=True):
        print(progress.status)
    vectors = (await client.embed("guide", "hello")).embeddings
    print(vectors, (await client.list()).models, (await client.ps()).models, await client.show("guide"))
