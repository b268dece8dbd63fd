"""What was found in a review of the server: each once made it hang, lie, or reach for what is not its own."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from pydantic import JsonValue

from oprel.core.completion import Chunk, CompletionRequest, Finish, PromptMessage, Sampling, Usage
from oprel.runtime.backends.openai import http as openai_http
from oprel.runtime.engine import EngineLost
from oprel.runtime.http import EngineHttp, SocketTransport
from oprel.server.inference.answers.continuation import ResumableAnswer
from oprel.server.inference.structured_output.checks import check_answer
from tests.conftest import DEADLINE, RunningDaemon
from tests.fixtures.memory_engine import MemoryEngine, ready


@pytest.fixture
def http(shared_daemon: RunningDaemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared_daemon.url, timeout=DEADLINE) as client:
        yield client


def test_no_number_of_answers_stops_the_daemon(http: httpx.Client) -> None:
    body = {"model": "tiny", "prompt": "hi", "max_tokens": 1, "n": 10**12}
    assert http.post("/v1/completions", json=body).status_code == 400
    assert http.get("/health").status_code == 200


def generated(http: httpx.Client, **options: object) -> dict[str, object]:
    body = {"model": "tiny", "prompt": "hi", "raw": True, "stream": False, "options": {"num_predict": 5, **options}}
    found: dict[str, object] = http.post("/api/generate", json=body).raise_for_status().json()
    return found


def test_as_many_tokens_as_can_be_are_not_none(http: httpx.Client) -> None:
    assert int(str(generated(http, num_predict=2**53)["eval_count"])) > 1


def test_no_penalty_takes_all_memory(http: httpx.Client) -> None:
    generated(http, repeat_last_n=2**31 - 1, repeat_penalty=1.3)
    (engine,) = [one for one in http.get("/models").json()["models"] if one["name"] == "tiny:latest"][:1]
    status = Path(f"/proc/{engine['pid']}/status").read_text()
    (peak,) = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
    assert peak < 1024**2, "KiB"


def test_a_schema_that_is_nested_too_deeply_is_the_senders_fault(http: httpx.Client) -> None:
    schema: dict[str, object] = {}
    for _ in range(120):
        schema = {"type": "object", "properties": {"a": schema}}
    response = http.post("/api/generate", json={"model": "tiny", "prompt": "hi", "format": schema})
    assert response.status_code == 400, response.text


DOUBLED = {f"d{at}": {"allOf": [{"$ref": f"#/$defs/d{at + 1}"}] * 2} for at in range(40)} | {"d40": {}}
ENDLESS = {
    "itself": {"$ref": "#"},
    "nowhere": {"$ref": "#/$defs/none"},
    "twice as many each time": {"$defs": DOUBLED, "$ref": "#/$defs/d0"},
}


@pytest.mark.parametrize("schema", ENDLESS.values(), ids=ENDLESS.keys())
def test_a_proof_has_an_end(schema: dict[str, object]) -> None:
    with pytest.raises(Exception, match="references lead nowhere, or too far"):
        check_answer("{}", schema)  # type: ignore[arg-type]


def test_a_proof_reads_no_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text('{"type": "string"}')
    with pytest.raises(Exception, match="references lead nowhere, or too far"):
        check_answer("{}", {"$ref": f"file://{tmp_path}/secret"})


def test_an_expression_that_would_take_years_is_checked_at_once() -> None:
    with pytest.raises(Exception, match="does not match"):
        check_answer(json.dumps("a" * 60 + "!"), {"enum": ["a" * 60 + "!"], "pattern": "^(a+)+$"})
    named: dict[str, JsonValue] = {"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}
    check_answer('{"' + "a" * 60 + '": 1}', named)
    with pytest.raises(Exception, match="does not follow"):
        check_answer('{"' + "a" * 60 + '!": 1}', named)


def test_references_and_properties_are_still_proven() -> None:
    schema: dict[str, JsonValue]
    schema = {"$defs": {"n": {"type": "integer"}}, "properties": {"n": {"$ref": "#/$defs/n"}}}
    check_answer('{"n": 1}', schema)
    for text in ('{"n": "1"}', '{"n": 1, "m": 2}'):
        with pytest.raises(Exception, match="does not follow"):
            check_answer(text, schema | {"additionalProperties": False})


async def told(request: CompletionRequest, *chunks: Chunk) -> ResumableAnswer:
    """An answer whose engine died behind these chunks."""
    answer = ResumableAnswer(request)
    for chunk in chunks:
        answer.receive(chunk)
    await answer.go_on(ready(MemoryEngine()))
    return answer


def word(text: str, token: int) -> Chunk:
    return Chunk(text, tokens=(token,), spelled=text.encode())


async def test_an_answer_that_ends_before_it_was_repeated_is_not_whole() -> None:
    answer = await told(CompletionRequest("Once", schema={}), word("{", 1), word("}", 2))
    assert answer.receive(word("{", 1)) is None
    with pytest.raises(EngineLost, match="did not repeat"):
        answer.receive(Chunk(finish=Finish.STOP))


async def test_an_image_is_shown_to_the_next_engine_too() -> None:
    seen = CompletionRequest((PromptMessage("user", "look", images=("aGk=",)),), tell_tokens=True)
    assert (await told(seen, word("red", 1))).request == seen


async def test_the_token_that_ends_an_answer_counts_whether_told_or_not() -> None:
    answer = await told(CompletionRequest("Once", Sampling(num_predict=9), tell_tokens=True), word(" a", 1))
    answer.receive(word(" b", 2))
    last = answer.receive(Chunk(finish=Finish.STOP, usage=Usage(prompt_tokens=3, completion_tokens=2)))
    assert last
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (2, 3)


async def test_a_client_that_was_closed_meanwhile_is_an_engine_lost() -> None:
    http = EngineHttp(SocketTransport(Path("/nowhere")))
    http.close()
    with pytest.raises(EngineLost):
        await openai_http.tokenize(http, "hi")
    with pytest.raises(EngineLost):
        [chunk async for chunk in openai_http.complete(http, CompletionRequest("hi"))]


def killed_at(daemon: RunningDaemon, path: str, body: dict[str, object], kill_at: int) -> list[dict[str, object]]:
    """The objects of a stream whose engine is killed after so many lines; 0 = never."""
    found: list[dict[str, object]] = []
    with httpx.Client(base_url=daemon.url, timeout=DEADLINE) as http:
        load = {"model": body["model"], "options": body.get("options", {})}
        http.post("/load", json=load).raise_for_status()
        (engine,) = http.get("/models").json()["models"]
        with http.stream("POST", path, json=body) as response:
            for number, line in enumerate(response.iter_lines(), 1):
                if number == kill_at:
                    os.kill(engine["pid"], signal.SIGKILL)
                text = line.removeprefix("data: ")
                if text.startswith("{"):
                    found.append(json.loads(text))
    return found


def test_an_answer_that_outgrew_its_context_outlives_its_engine(
    start_daemon: Callable[..., RunningDaemon], endless: Path
) -> None:
    options = {"num_ctx": 64, "num_predict": 600, "temperature": 0, "seed": 1}
    body: dict[str, object] = {"model": str(endless), "prompt": "hello", "raw": True, "options": options}
    objects = killed_at(start_daemon(), "/api/generate", body, kill_at=150)
    assert "error" not in objects[-1], objects[-1]
    assert objects[-1]["recoveries"] == 1
    assert objects[-1]["eval_count"] == 600


def test_logprobs_go_on_with_the_answer(start_daemon: Callable[..., RunningDaemon], endless: Path) -> None:
    messages = [{"role": "user", "content": "hello"}]
    body: dict[str, object] = {
        "model": str(endless),
        "messages": messages,
        "stream": True,
        "max_tokens": 400,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 2,
    }
    objects = killed_at(start_daemon(), "/v1/chat/completions", body, kill_at=20)
    choices = [choice for one in objects for choice in one["choices"]]  # type: ignore[attr-defined]
    spoken = [choice for choice in choices if choice["delta"].get("content")]
    assert len(spoken) > 100
    assert all(choice.get("logprobs") for choice in spoken)
    assert any(one.get("recoveries") == 1 for one in objects)


def test_a_client_that_leaves_while_it_asks_is_no_fault(start_daemon: Callable[..., RunningDaemon]) -> None:
    daemon = start_daemon()
    address = httpx.URL(daemon.url)
    with socket.create_connection((address.host, address.port)) as connection:
        connection.sendall(b'POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{"model"')
        time.sleep(0.2)
    time.sleep(0.3)
    assert httpx.get(f"{daemon.url}/health", timeout=DEADLINE).status_code == 200
    assert "unexpected error" not in daemon.log


def test_those_who_wait_for_an_engine_to_be_replaced_are_a_queue_with_an_end(
    start_daemon: Callable[..., RunningDaemon], endless: Path
) -> None:
    daemon = start_daemon(parallel=1, max_queue=2)
    body = {"model": str(endless), "prompt": "hi", "stream": True}

    def other(number: int) -> int | None:
        asked = {**body, "stream": False, "options": {"num_predict": 1, "num_thread": 2 + number % 2}}
        try:
            return httpx.post(f"{daemon.url}/api/generate", json=asked, timeout=4).status_code
        except httpx.TimeoutException:
            return None

    with httpx.stream("POST", f"{daemon.url}/api/generate", json=body, timeout=DEADLINE) as response:
        next(response.iter_lines())
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(other, range(8)))
    assert 503 in found, "one runs, and three may wait"


@pytest.mark.parametrize("token", [-1, 10**6, 2**40])
@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/detokenize", "tokens"),
        ("/api/generate", "context"),
        ("/v1/completions", "prompt"),
        ("/v1/embeddings", "input"),
    ],
)
def test_a_token_that_the_model_does_not_have_is_refused(
    shared_daemon: RunningDaemon, path: str, field: str, token: int
) -> None:
    body = {"model": "guide", "prompt": "hello", field: [token]}
    response = httpx.post(f"{shared_daemon.url}{path}", json=body, timeout=DEADLINE)
    assert response.status_code == 400
    assert "is not a token of the model" in response.text
