"""`oprel.Model` and the functions of the package, with a daemon and without one."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import oprel
from oprel.core.config import Config
from tests.conftest import DEADLINE, RunningDaemon, alive, eventually

HELLO = [{"role": "user", "content": "hello"}]
SHORT = {"num_predict": 6, "seed": 1}


@pytest.fixture(params=["daemon", "own process"])
def make_model(request: pytest.FixtureRequest, config: Config, tiny: Path) -> Callable[..., oprel.Model]:
    """Models of either kind, on the same tests."""
    own = request.param == "own process"
    if not own:
        request.getfixturevalue("start_daemon")()
    return lambda **extras: oprel.Model(str(tiny), use_server=not own, config=config, options=SHORT, **extras)


def test_a_model_generates_chats_and_embeds(make_model):
    with make_model() as model:
        assert model.generate("hello")
        assert model.chat(HELLO).content
        (vector,) = model.embed("hello")
        assert math.isclose(math.hypot(*vector), 1.0, abs_tol=1e-5)


def test_a_model_streams_what_it_gives_whole(make_model):
    with make_model() as model:
        pieces = list(model.generate("hello", stream=True))
        assert len(pieces) > 2
        assert "".join(pieces) == model.generate("hello")
        assert "".join(model.chat(HELLO, stream=True)) == model.chat(HELLO).content


def test_a_stream_can_be_left_early(make_model, endless: Path):
    with make_model(keep_alive=-1) as model:
        model.name = str(endless)
        stream = model.generate("hello", stream=True, options={"num_predict": -1})
        assert next(stream)
        stream.close()
        assert model.generate("hello")


def test_an_unknown_model_is_not_found(make_model, tmp_path: Path):
    with make_model() as model:
        model.name = str(tmp_path / "nonesuch.gguf")
        with pytest.raises(oprel.ModelNotFoundError):
            model.generate("hello")
        model.name = "nonesuch"
        with pytest.raises(oprel.ModelNotFoundError):
            list(model.generate("hello", stream=True))
        model.name = str(make_model().name)


def test_leaving_a_model_of_the_daemon_unloads_it(start_daemon, tiny: Path):
    daemon: RunningDaemon = start_daemon()
    with oprel.Model(str(tiny), config=daemon.config), daemon.client as client:
        (engine,) = client.engines().models
        assert engine.state == "ready"
    eventually(lambda: not alive(engine.pid))


def test_an_engine_of_this_process_ends_with_its_model(config: Config, tiny: Path):
    with oprel.Model(str(tiny), use_server=False, config=config) as model:
        (engine,) = model._client.engines().models
        assert alive(engine.pid)
    assert not alive(engine.pid)
    assert not config.socket_path.exists()


def test_a_program_that_forgets_to_close_its_model_ends_all_the_same(home: Path, tiny: Path):
    script = (
        "import sys, oprel; model = oprel.Model(sys.argv[1], use_server=False)\n"
        "model.generate('x', options={'num_predict': 1}); print(model._client.engines().models[0].pid)"
    )
    environment = {**os.environ, "OPREL_HOME": str(home)}
    command = [sys.executable, "-c", script, str(tiny)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE, check=True)
    assert not alive(int(done.stdout))
    assert done.stderr == ""


def test_a_relative_path_is_found_by_a_daemon_elsewhere(start_daemon, tiny: Path, monkeypatch: pytest.MonkeyPatch):
    daemon: RunningDaemon = start_daemon()
    monkeypatch.chdir(tiny.parent)
    with daemon.client as client:
        assert client.chat("./tiny.gguf", HELLO, options=SHORT).done
        assert client.show("tiny.gguf").details.family == "llama"


def context_length(model: oprel.Model) -> int:
    (engine,) = model._client.engines().models
    return engine.context_length


def test_settings_go_with_every_request_and_a_request_may_have_its_own(make_model):
    with make_model(ctx_size=512, n_predict=3, temperature=0) as model:
        assert context_length(model) == 512
        short = model.generate("hello")
        assert len(model.generate("hello", options={"num_predict": 9})) > len(short)
        assert model.generate("hello") == short


def test_a_model_is_running_from_its_load_to_its_unload(make_model):
    model = make_model()
    assert not model.is_running()
    model.load()
    assert model.is_running()
    model.unload()
    assert not model.is_running()
    model.close()


def test_a_model_is_reloaded_with_the_same_settings(make_model):
    with make_model(num_ctx=512) as model:
        (before,) = model._client.engines().models
        assert model.reload() is model
        (after,) = model._client.engines().models
        assert (after.context_length, after.state) == (512, "ready")
        assert after.pid != before.pid
        assert model.generate("hello")


def test_a_model_that_was_closed_is_not_running(make_model):
    with make_model() as model:
        assert repr(model).startswith(f"<oprel.Model {model.name}, num_predict=6, seed=1")
        assert "closed" not in repr(model)
    assert not model.is_running()
    assert repr(model).endswith(", closed>")


def test_a_closed_model_says_so_or_connects_again(make_model, request: pytest.FixtureRequest):
    model = make_model()
    with model:
        model.close()
    if "own process" in request.node.name:
        for call in (model.load, model.unload, lambda: model.generate("hello"), lambda: model.embed("hello")):
            with pytest.raises(oprel.ConnectError, match=f"the model {model.name} is closed"):
                call()
    else:
        assert model.generate("hello")
        assert "closed" not in repr(model)
        model.close()


def test_no_piece_is_empty(make_model):
    with make_model() as model:
        model.name = "guide"
        pieces = list(model.chat(HELLO, stream=True, think=True, options={"num_predict": 60}))
        assert pieces and all(pieces)
        assert all(model.generate("hello", stream=True, think=True, options={"num_predict": 60}))


def test_to_ask_whether_a_model_is_running_starts_no_daemon(config: Config):
    assert not oprel.Model("tiny", config=config).is_running()
    assert not config.home_dir.exists() or list(config.home_dir.iterdir()) == []


def test_a_model_is_running_by_each_of_its_names(start_daemon, tiny: Path, monkeypatch: pytest.MonkeyPatch):
    daemon: RunningDaemon = start_daemon()
    monkeypatch.chdir(tiny.parent)
    with oprel.Model("guide", config=daemon.config, options=SHORT):
        running = {
            name: oprel.Model(name, config=daemon.config).is_running()
            for name in ("guide", "guide:latest", "GUIDE", "other", "./tiny.gguf")
        }
        assert running == {"guide": True, "guide:latest": True, "GUIDE": True, "other": False, "./tiny.gguf": False}
    with oprel.Model("./tiny.gguf", config=daemon.config):
        assert oprel.Model(str(tiny), config=daemon.config).is_running()


def test_a_conversation_goes_on_with_each_prompt(make_model):
    with make_model() as model:
        alone = model._client.generate(model.name, "and now", options=SHORT)
        model.generate("hello", conversation_id="walk", system_prompt="You like walks.")
        pieces = list(model._client.generate(model.name, "and now", conversation_id="walk", options=SHORT, stream=True))
        assert {piece["conversation_id"] for piece in pieces} == {"walk"}
        assert (pieces[-1].prompt_eval_count or 0) > (alone.prompt_eval_count or 0) + SHORT["num_predict"]


def test_a_conversation_without_an_id_gets_one(make_model):
    with make_model() as model:
        first = model._client.generate(model.name, "hello", conversation_id="", options=SHORT)
        second = model._client.generate(model.name, "hello", conversation_id=first["conversation_id"], options=SHORT)
        assert first["conversation_id"] == second["conversation_id"] != ""
        assert (second.prompt_eval_count or 0) > (first.prompt_eval_count or 0)


async def test_conversations_are_the_same_in_both_clients(start_daemon, tiny: Path):
    daemon: RunningDaemon = start_daemon()
    address = f"unix:{daemon.config.socket_path}"
    with oprel.Client(address) as client:
        client.generate(str(tiny), "hello", conversation_id="walk", options=SHORT)
        with pytest.raises(oprel.ModelNotFoundError):
            client.generate("nonesuch", "hello", conversation_id="walk")
    async with oprel.AsyncClient(address) as client:
        reply = await client.generate(str(tiny), "and now", conversation_id="walk", options=SHORT)
        alone = await client.generate(str(tiny), "and now", options=SHORT)
        assert reply["conversation_id"] == "walk" and (reply.prompt_eval_count or 0) > (alone.prompt_eval_count or 0)


async def test_the_async_client_does_what_the_other_does(start_daemon, tiny: Path):
    daemon: RunningDaemon = start_daemon()
    async with oprel.AsyncClient(f"unix:{daemon.config.socket_path}") as client:
        whole = await client.generate(str(tiny), "hello", options=SHORT)
        pieces = [piece async for piece in await client.generate(str(tiny), "hello", options=SHORT, stream=True)]
        assert "".join(piece.response for piece in pieces) == whole.response
        assert (await client.ps()).models[0].context_length == 2048
        with pytest.raises(oprel.ModelNotFoundError):
            await client.show("nonesuch")
