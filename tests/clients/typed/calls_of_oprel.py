"""Every call that docs/python.md names and Ollama's client lacks. Type checkers read it; it is never run."""

from collections.abc import Iterator, Sequence

import oprel


def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"17 degrees in {city}"


def uses_the_module() -> None:
    oprel.setup_logging("info")
    reply = oprel.chat(
        "guide",
        [oprel.Message(role="user", content="hello")],
        tools=[get_weather],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
        truncate=False,
        shift=False,
    )
    oprel.chat("guide", tool_choice="none", options=oprel.Options(runaway_guard=False))
    known: str = reply["done_reason"]
    print(known, reply.get("truncated"), "recoveries" in reply, reply.recoveries)
    first = oprel.generate("guide", "My name is Ada.", conversation_id="", system_prompt="Be brief.", width=1, height=1)
    print(oprel.generate("guide", "What is my name?", conversation_id=first["conversation_id"], steps=1).response)
    print(oprel.embed("guide", ["the sun"], input_type="query").embeddings)
    loaded = oprel.load("guide", options={"num_ctx": 512}, keep_alive="1h", fetch=False, progress=report)
    print(loaded.state, oprel.unload("guide").in_flight)
    print([found.name for found in oprel.search("qwen", limit=3).models])
    print(oprel.recommend("./m.gguf").context)
    print(oprel.inspect("./m.gguf").valid, [each.path for each in oprel.inspect(["./m.gguf", "./n.gguf"])])


def report(step: oprel.LoadResponse) -> None:
    print(step.status, step.completed, step.total)


def uses_a_model() -> oprel.Message:
    with oprel.Model("guide", options={"temperature": 0}, ctx_size=1024, n_gpu_layers=0, progress=report) as model:
        text: str = model.generate("hello", think=False)
        pieces: Iterator[str] = model.generate("hello", "end", stream=True, options={"seed": 1})
        parts: Iterator[str] = model.chat([{"role": "user", "content": "hello"}], stream=True)
        print(text, "".join(pieces), "".join(parts), model.is_running(), repr(model))
        vectors: Sequence[Sequence[float]] = model.embed(["the sun", "the moon"])
        print(vectors)
        model.reload().unload()
        message = model.chat([{"role": "user", "content": "hello"}], tools=[get_weather], format="json")
    own = oprel.Model("guide", use_server=False, keep_alive=-1, fetch=False, stop=["."], num_ctx=512)
    own.load()
    own.close()
    for call in message.tool_calls or ():
        print(call.id, get_weather(**call.function.arguments))
    return message


def uses_a_client() -> None:
    with oprel.Client("unix:/run/oprel.sock", start=False, headers={"X-Key": None}, timeout=60) as client:
        print(client.health().version, [engine.state for engine in client.engines().models])
        print([model.name for model in client.library(provider="ollama", status="", capability="vision").models])
        for progress in client.import_model("mine", "./m.gguf", how="copy"):
            print(progress.status)
        print(client.cache().files, [step.status for step in client.verify_cache(all=True)])
        print(client.clear_cache(all=False), client.remove("mine"))
        started = client.download("qwen3:0.6b")
        print(client.downloads().downloads, client.download_status(started.id).status)
        for act in (client.pause_download, client.resume_download, client.cancel_download):
            print(act(started.id).status)
        print([crash.id for crash in client.crashes().crashes], client.crash("a1b2"))
        for line in client.logs("guide", follow=True):
            print(line)
        print(client.quarantine().requests, client.clear_quarantine("a1b2"))
        client.close()


async def awaits() -> None:
    async with oprel.AsyncClient(start=False) as client:
        health, engines = await client.health(), await client.engines()
        print(health.version, engines.models, (await client.library()).models)
        async for progress in await client.import_model("mine", "./m.gguf"):
            print(progress.status)
        async for step in await client.verify_cache():
            print(step.status)
        print(await client.cache(), await client.clear_cache(), await client.remove("mine"))
        started = await client.download("qwen3:0.6b")
        for act in (client.pause_download, client.resume_download, client.cancel_download, client.download_status):
            print((await act(started.id)).status)
        print(await client.downloads(), await client.search("qwen"))
        async for line in await client.logs("guide"):
            print(line)
        print(await client.crashes(), await client.crash("a1"), await client.quarantine())
        print(await client.clear_quarantine(), await client.unload("guide"))
        loaded = await client.load("guide", progress=report, fetch=True)
        print(loaded.state)
        reply = await client.generate("guide", "hello", conversation_id="ada", truncate=True, shift=True)
        print(reply.response)
        await client.close()


def handles_errors() -> None:
    try:
        uses_the_module()
    except oprel.BusyError as error:
        print(error.retry_after)
    except (oprel.MemoryError, oprel.DownloadError, oprel.ConfigError) as error:
        print(error.code, error.message, *error.resolution_steps)
    except oprel.OprelError as error:
        print(error.status_code, error.exit_code)
