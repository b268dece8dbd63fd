"""The programs of the benches: an engine that replays what the real one sends, and a client that counts it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.load import LoadFailed, send
from benchmarks.processes import Daemon, over_socket, running_daemon
from tests.replay.programs import compiled

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler")
TOKENS = 5
MESSAGES = [{"role": "user", "content": f"REPLAY tokens={TOKENS} batch=2 pace=100"}]
# What oprel asks engines for.
REQUEST = {
    "stream": True,
    "stream_options": {"include_usage": True},
    "return_progress": True,
    "timings_per_token": True,
    "max_tokens": TOKENS,
    "ignore_eos": True,
    "seed": 1,
}
LOGPROBS = {"logprobs": True, "top_logprobs": 1, "post_sampling_probs": True}
CHAT = {"messages": MESSAGES, "chat_template_kwargs": {"enable_thinking": False}}


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """One whose engine replays."""
    with running_daemon(settings={"engine_path": compiled("replay_engine"), "n_threads": 1}) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def engines(daemon: Daemon) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """Of the replaying engine and of the real one."""
    with running_daemon(settings={"n_threads": 1}) as other:
        sockets = [one.engine("guide").socket for one in (daemon, other)]
        with over_socket(sockets[0]) as replaying, over_socket(sockets[1]) as real:
            yield replaying, real


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
def test_each_stream_gets_all_its_tokens_through_the_daemon(daemon: Daemon, path: str) -> None:
    body = {"model": "guide", "stream": True, "messages": MESSAGES}
    load = send(daemon.address, path, body, streams=3, requests=2, stagger_ms=1)
    assert (load.requests, load.failed, load.tokens) == (6, 0, 6 * TOKENS)
    assert (len(load.first), len(load.total), len(load.gaps)) == (6, 6, 6 * (TOKENS - 1))


def test_a_request_that_fails_is_not_counted_as_fast(daemon: Daemon) -> None:
    with pytest.raises(LoadFailed, match="1 of 1 requests failed"):
        send(daemon.address, "/api/chat", {"model": "no-such-model", "messages": MESSAGES})


def test_the_server_may_say_how_long_its_answer_is(daemon: Daemon) -> None:
    assert send(daemon.address, "/api/version", {}, requests=3, mark='"version":"').requests == 3


@pytest.mark.long  # one engine more
@pytest.mark.parametrize("more", [{}, LOGPROBS], ids=["plain", "logprobs"])
@pytest.mark.parametrize(("path", "prompt"), [("chat/completions", CHAT), ("completions", {"prompt": str(MESSAGES)})])
def test_the_engine_replays_events_of_the_form_that_the_real_one_sends(
    engines: tuple[httpx.Client, httpx.Client], path: str, prompt: dict[str, object], more: dict[str, object]
) -> None:
    replayed, real = (events(engine, f"/v1/{path}", {**REQUEST, **prompt, **more}) for engine in engines)
    assert replayed == real


def events(engine: httpx.Client, path: str, body: dict[str, object]) -> list[object]:
    """The forms of all events, of those that follow each other only one if they are equal, and the last line."""
    content = json.dumps(body, separators=(",", ":"))
    *lines, last = engine.post(path, content=content).raise_for_status().text.strip().split("\n\n")
    forms: list[object] = []
    for line in lines:
        if (found := form(json.loads(line.removeprefix("data: ")))) != (forms or [None])[-1]:
            forms.append(found)
    return [*forms, last]


def form(value: object) -> object:
    """The names in a value, in their order, and the kinds of values."""
    if isinstance(value, dict):
        return [(name, form(item)) for name, item in value.items()]
    if isinstance(value, list):
        return form(value[0]) if value else []
    return "number" if isinstance(value, int | float) else type(value).__name__


def test_a_program_is_compiled_once() -> None:
    program = compiled("load_generator")
    made = program.stat().st_mtime_ns
    assert compiled("load_generator") == program and Path(program).stat().st_mtime_ns == made
