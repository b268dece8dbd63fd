"""Models that are loaded before anybody asks: those that are configured, and those that were loaded before."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from oprel.client_api import Client
from tests.conftest import DEADLINE, RunningDaemon, alive, eventually
from tests.fixtures.fake_engine import install
from tests.fixtures.gguf_factory import write_tiny_gguf
from tests.fixtures.gguf_parts import write_reranker

pytestmark = pytest.mark.long

StartDaemon = Callable[..., RunningDaemon]
FOR_EVER = "2300"  # the API has no other word for it than a date far away


def loaded(client: Client) -> dict[str, int]:
    """Names of the models whose engine is ready, with their context."""
    return {model.name: model.context_length for model in client.engines().models if model.state == "ready"}


def written(daemon: RunningDaemon) -> list[dict[str, object]]:
    """What the next daemon is going to load."""
    file = daemon.config.home_dir / "loaded.json"
    return json.loads(file.read_text()) if file.exists() else []


def test_configured_models_are_loaded_at_the_start(start_daemon: StartDaemon, tiny: Path) -> None:
    models = json.dumps({str(tiny): {"preload": "on", "ctx_size": 128, "pin": "on"}})
    with start_daemon(preload="guide, absent", models=models, ctx_size=256).client as client:
        eventually(lambda: loaded(client) == {"guide:latest": 256, str(tiny): 128})
        (pinned,) = (model for model in client.engines().models if model.name == str(tiny))
        assert pinned.pinned and (pinned.expires_at or "") > FOR_EVER


def test_a_model_that_cannot_be_preloaded_is_told_in_the_log(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(preload="absent, guide")
    with daemon.client as client:
        eventually(lambda: loaded(client))
    assert "absent is not loaded: model 'absent' not found" in daemon.log


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_loaded_is_loaded_again(start_daemon: StartDaemon, tiny: Path, end: signal.Signals) -> None:
    first = start_daemon()
    with first.client as client:
        client.generate("guide", "hello", options={"num_ctx": 128, "num_predict": 1}, keep_alive="1h")
        client.generate(str(tiny), "hello", options={"num_predict": 1}, keep_alive=-1)
        eventually(lambda: len(written(first)) == 2)
        before = loaded(client)
    first.end(end)
    with start_daemon().client as client:
        eventually(lambda: loaded(client) == before)
        until = {model.name: model.expires_at for model in client.engines().models}
        assert (until["guide:latest"] or "") < FOR_EVER < (until[str(tiny)] or "")


def test_an_embedding_model_comes_back_as_one(start_daemon: StartDaemon, tmp_path: Path) -> None:
    ranker = write_reranker(tmp_path / "ranker.gguf", "water")
    first = start_daemon(preload=str(ranker))
    with first.client as client:
        eventually(lambda: loaded(client))
        eventually(lambda: written(first))
    first.end()
    with start_daemon().client as client:
        eventually(lambda: loaded(client))
        assert [model.embedding for model in client.engines().models] == [True]


def test_what_nobody_wants_any_more_stays_away(start_daemon: StartDaemon, home: Path, tiny: Path) -> None:
    entries = [{"name": str(tiny), "until": "2020-01-01T00:00:00Z"}, {"name": "guide", "until": "2999-01-01T00:00:00Z"}]
    (home / "loaded.json").write_text(json.dumps(entries))
    with start_daemon().client as client:
        eventually(lambda: loaded(client))
        assert [model.name for model in client.engines().models] == ["guide:latest"]


def test_what_was_unloaded_stays_away(start_daemon: StartDaemon, tiny: Path) -> None:
    first = start_daemon()
    with first.client as client:
        client.load(str(tiny))
        eventually(lambda: written(first))
        client.unload(str(tiny))
        eventually(lambda: not written(first))
    first.end()
    assert written(first) == []


def test_nothing_is_loaded_again_where_that_is_not_wanted(start_daemon: StartDaemon, home: Path) -> None:
    (home / "loaded.json").write_text('[{"name": "absent"}, {"name": "guide"}]')
    daemon = start_daemon(restore="off")
    with daemon.client as client:
        client.load("guide")
    assert "absent" not in daemon.log and "again" not in daemon.log


@pytest.mark.parametrize("content", ["", "[{", '{"name": 1}', '[{"nothing": 1}]'])
def test_a_damaged_file_hinders_nothing(start_daemon: StartDaemon, home: Path, content: str) -> None:
    (home / "loaded.json").write_text(content)
    daemon = start_daemon()
    with daemon.client as client:
        assert client.health().status == "ok"
    assert "loaded.json cannot be used" in daemon.log


def test_a_model_that_takes_the_daemon_along_is_tried_once(
    start_daemon: StartDaemon, home: Path, tiny: Path, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    program = install(tmp_path / "engine", journal=str(journal), silent_load=600)
    (home / "loaded.json").write_text(json.dumps([{"name": str(tiny)}, {"name": "guide"}]))
    first = start_daemon(engine_path=str(program))
    eventually(journal.exists)
    first.end(signal.SIGKILL)
    assert [entry["name"] for entry in written(first)] == ["guide"]


def test_a_daemon_that_ends_while_it_loads_goes_on_where_it_was(
    start_daemon: StartDaemon, home: Path, tiny: Path, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    program = install(tmp_path / "engine", journal=str(journal), silent_load=600)
    (home / "loaded.json").write_text(json.dumps([{"name": str(tiny)}, {"name": "guide"}]))
    first = start_daemon(engine_path=str(program))
    eventually(journal.exists)
    assert first.end() == 0
    with start_daemon().client as client:
        eventually(lambda: loaded(client).keys() == {str(tiny), "guide:latest"})


def test_nobody_has_to_make_room_for_what_comes_back(start_daemon: StartDaemon, home: Path, tmp_path: Path) -> None:
    """Two models of which one fits: the one that is there stays."""
    models = [write_tiny_gguf(tmp_path / f"{name}.gguf", seed=number) for number, name in enumerate("ab")]
    (home / "loaded.json").write_text(json.dumps([{"name": str(model)} for model in models]))
    probe = start_daemon(preload=str(models[0]), restore="off")
    with probe.client as client:
        eventually(lambda: loaded(client))
        (one,) = client.engines().models
    probe.end()
    (home / "loaded.json").write_text(json.dumps([{"name": str(model)} for model in models]))
    megabytes = one.predicted_bytes * 3 // 2 // 1024**2
    daemon = start_daemon(default_max_memory_mb=megabytes)
    with daemon.client as client:
        eventually(lambda: f"{models[1]} is not loaded: there is no room" in daemon.log)
        assert list(loaded(client)) == [str(models[0])]


def test_requests_do_not_wait_for_what_is_loaded_meanwhile(
    start_daemon: StartDaemon, tiny: Path, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    program = install(tmp_path / "engine", journal=str(journal), silent_load=600)
    daemon = start_daemon(engine_path=str(program), preload=str(tiny))
    eventually(journal.exists)
    with httpx.Client(base_url=daemon.url, trust_env=False, timeout=DEADLINE) as http:
        assert http.get("/api/tags").status_code == 200
        (engine,) = http.get("/models").json()["models"]
    assert engine["state"] == "starting" and alive(engine["pid"])
