"""`GET /api/events`: what changes in the daemon."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from oprel.client_api import Client
from tests.conftest import DEADLINE, RunningDaemon


def events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in response.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def test_a_listener_hears_of_each_change(shared_daemon: RunningDaemon, client: Client) -> None:
    client.unload("guide")
    with httpx.stream("GET", f"{shared_daemon.url}/api/events", timeout=DEADLINE, trust_env=False) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        news = events(response)
        first = next(news)
        assert (first["type"], first["status"]) == ("daemon", "ok")
        client.load("guide")
        engines = (each for each in news if each["type"] == "engine" and "guide:latest" in each["engine"]["names"])
        ready = next(each for each in engines if each["engine"]["state"] == "ready")
        client.unload("guide")
        assert next(each for each in news if each["type"] == "engine_gone" and each["id"] == ready["id"])
        task = client.download("http://127.0.0.1:1/m.gguf")
        begun = next(each for each in news if each["type"] == "download" and each["id"] == task.id)
        assert begun["download"]["task_id"] == task.id
        client.cancel_download(task.id)
        assert next(each for each in news if each["type"] == "download_gone" and each["id"] == task.id)


def test_a_listener_does_not_keep_the_daemon_from_ending(start_daemon: Callable[..., RunningDaemon]) -> None:
    daemon = start_daemon()
    with httpx.stream("GET", f"{daemon.url}/api/events", timeout=DEADLINE, trust_env=False) as response:
        news = events(response)
        next(news)
        daemon.process.terminate()
        assert [each["status"] for each in news if each["type"] == "daemon"] == ["draining"]
    assert daemon.process.wait(DEADLINE) == 0


def test_a_page_of_another_program_hears_nothing(shared_daemon: RunningDaemon) -> None:
    page = {"Origin": "http://localhost:3000"}
    answer = httpx.get(f"{shared_daemon.url}/api/events", headers=page, trust_env=False, timeout=DEADLINE)
    assert answer.status_code == 401
