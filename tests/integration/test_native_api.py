"""oprel's own routes, on a real engine."""

import json
from pathlib import Path

import httpx
import pytest

from tests.conftest import DEADLINE, RunningDaemon, alive, running_daemon

SHORT = {"num_predict": 6, "seed": 1}


@pytest.fixture
def http(shared_daemon: RunningDaemon):
    with httpx.Client(base_url=shared_daemon.url, timeout=DEADLINE, trust_env=False) as http:
        yield http


def test_health_names_the_daemon_and_its_engines(http: httpx.Client, shared_daemon: RunningDaemon):
    health = http.get("/health").json()
    assert (health["status"], health["pid"]) == ("ok", shared_daemon.process.pid)
    assert "xllamacpp wheel" in health["engines"]
    assert health["uptime_seconds"] > 0


def test_models_lists_an_engine_with_its_process_and_address(http: httpx.Client):
    http.post("/load", json={"model": "tiny"})
    engines = {(one["name"], one["embedding"]): one for one in http.get("/models").json()["models"]}
    engine = engines["tiny:latest", False]
    assert engine["state"] == "ready"
    assert alive(engine["pid"])
    assert Path(engine["address"].removeprefix("unix:")).is_socket()


def test_load_and_unload_say_what_they_did(start_daemon, tiny: Path):
    with httpx.Client(base_url=start_daemon().url, timeout=DEADLINE, trust_env=False) as http:
        loaded = http.post("/load", json={"model": str(tiny), "keep_alive": -1}).json()
        assert (loaded["state"], loaded["load_duration"] > 0) == ("ready", True)
        assert http.get("/models").json()["models"][0]["expires_at"].startswith("23")
        assert http.post("/unload", json={"model": str(tiny)}).json()["unloaded"] is True
        assert http.post("/unload", json={"model": str(tiny)}).json()["unloaded"] is False
        assert http.get("/models").json()["models"] == []


UNLOADS: list[tuple[str, dict[str, object]]] = [
    ("/unload", {}),
    ("/api/generate", {"keep_alive": 0}),
    ("/api/chat", {"keep_alive": "0s"}),
    ("/api/embed", {"keep_alive": 0}),
    ("/api/embeddings", {"keep_alive": 0}),
]


def test_a_model_whose_file_is_gone_can_be_unloaded(start_daemon, tiny: Path, tmp_path: Path):
    with httpx.Client(base_url=start_daemon().url, timeout=DEADLINE, trust_env=False) as http:
        for number, (path, body) in enumerate(UNLOADS):
            weights = tmp_path / f"{number}.gguf"
            weights.write_bytes(tiny.read_bytes())
            http.post("/load", json={"model": str(weights), "keep_alive": -1}).raise_for_status()
            weights.unlink()
            http.post(path, json={"model": str(weights), **body}).raise_for_status()
            assert http.get("/models").json()["models"] == [], path
            assert http.post(path, json={"model": str(weights), **body}).status_code == 404


def test_an_error_is_an_object_with_steps_to_take(http: httpx.Client):
    response = http.post("/load", json={"model": "nonesuch"})
    assert response.status_code == 404
    error = response.json()["error"]
    assert (error["type"], error["message"]) == ("model_not_found", "model 'nonesuch' not found")
    assert error["resolution_steps"]


def ask(http: httpx.Client, prompt: str, **body: object) -> dict:
    request = {"model": "tiny", "prompt": prompt, "stream": False, "options": SHORT, **body}
    return http.post("/generate", json=request).raise_for_status().json()


def test_generate_streams_lines_that_name_the_conversation(http: httpx.Client):
    response = http.post("/generate", json={"model": "tiny", "prompt": "x", "options": SHORT})
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert lines[-1]["done"] and lines[-1]["eval_count"]
    assert len({line["conversation_id"] for line in lines}) == 1


def test_a_conversation_goes_before_the_next_prompt(http: httpx.Client):
    alone = ask(http, "and now")
    first = ask(http, "hello", conversation_id="walk", system_prompt="You like walks.")
    second = ask(http, "and now", conversation_id="walk")
    assert first["conversation_id"] == second["conversation_id"] == "walk"
    assert second["prompt_eval_count"] > alone["prompt_eval_count"] + first["eval_count"]


def test_a_conversation_survives_a_restart_of_the_daemon(config, tiny: Path):
    counts = []
    for _ in range(2):
        with (
            running_daemon(config) as daemon,
            httpx.Client(base_url=daemon.url, timeout=DEADLINE, trust_env=False) as http,
        ):
            counts.append(ask(http, "hello", model=str(tiny), conversation_id="c")["prompt_eval_count"])
    assert counts[1] > counts[0]


def test_a_broken_answer_is_not_remembered(start_daemon, tiny: Path, tmp_path: Path):
    from tests.fixtures.fake_engine import install

    daemon = start_daemon(engine_path=str(install(tmp_path / "engine", end_at_token=2)))
    with httpx.Client(base_url=daemon.url, timeout=DEADLINE, trust_env=False) as http:
        http.post("/generate", json={"model": str(tiny), "prompt": "x", "conversation_id": "c"})
    daemon.end()
    import sqlite3

    database = sqlite3.connect(daemon.config.home_dir / "state.db")
    assert database.execute("SELECT count(*) FROM messages").fetchone() == (0,)
    database.close()
