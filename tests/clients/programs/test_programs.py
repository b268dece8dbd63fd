"""Programs of others, as their users run them, against a real daemon. `bin/test clients` runs these alone."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.programs import installing
from tests.conftest import RunningDaemon
from tests.fixtures import tool_engine
from tests.fixtures.gguf_factory import CHATML, Shape, write_tiny_gguf

pytestmark = [pytest.mark.programs, pytest.mark.timeout(installing.INSTALL_SECONDS + 400)]

FOLDER = Path(__file__).parent
RUN_SECONDS = 200
TASK = "Run the tool"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a program in an empty folder and home of its own."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()

    def run(*command: str | Path, **environ: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "HOME": home, **environ}
        return subprocess.run(
            command,
            cwd=work,
            env={name: str(value) for name, value in environment.items()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )

    return run


@pytest.fixture
def agents_daemon(start_daemon: Callable[..., RunningDaemon], tmp_path: Path) -> RunningDaemon:
    """With a model, `smart`, that uses a shell."""
    daemon = start_daemon(engine_path=str(tool_engine.install(tmp_path / "engine")))
    template = "{% if tools %}{{ tools | tojson }}{% endif %}" + CHATML
    path = write_tiny_gguf(tmp_path / "smart.gguf", shape=Shape(context=131_072), template=template)
    with daemon.client as client:
        client.create("smart", files={path.name: client.create_blob(path)})
    return daemon


def test_the_ai_sdk_calls_a_tool_and_refers_to_its_call(run: Run, shared_daemon: RunningDaemon):
    folder = installing.npm("ai-sdk", "ai", "@ai-sdk/openai", "zod")
    script = shutil.copy(FOLDER / "ai_sdk.mjs", folder)  # modules are looked up from where it lies
    done = run("node", script, URL=shared_daemon.url)
    assert done.returncode == 0, done.stderr
    for steps, text in json.loads(done.stdout).values():
        assert steps == 2 and "sunny" in text


def test_promptfoo_shows_thoughts_once(run: Run, shared_daemon: RunningDaemon, tmp_path: Path):
    folder = installing.npm("promptfoo", "promptfoo")
    provider = {"id": "openai:chat:guide", "config": {"apiBaseUrl": f"{shared_daemon.url}/v1", "apiKey": "any"}}
    evaluation = {"prompts": ["{{q}}"], "providers": [provider], "tests": [{"vars": {"q": "How do I list my models?"}}]}
    (tmp_path / "work/c.json").write_text(json.dumps(evaluation))
    off = dict.fromkeys(("TELEMETRY", "UPDATE", "REMOTE_GENERATION"), "1")
    done = run(
        folder / "node_modules/.bin/promptfoo",
        *("eval", "-c", "c.json", "--no-cache", "--no-progress-bar", "-o", "out.json"),
        **{f"PROMPTFOO_DISABLE_{name}": value for name, value in off.items()},
    )
    out = tmp_path / "work/out.json"
    assert out.exists(), done.stderr or done.stdout
    output = json.loads(out.read_text())["results"]["results"][0]["response"]["output"]
    assert output.count("They ask") == 1 and "oprel list" in output


def test_mirascope_reads_a_forced_tool(run: Run, shared_daemon: RunningDaemon):
    python = installing.pip("mirascope", "mirascope[ollama]", "openai")
    done = run(
        python,
        FOLDER / "mirascope_format.py",
        OLLAMA_BASE_URL=f"{shared_daemon.url}/v1/",
        OLLAMA_HOST=shared_daemon.url,
    )
    assert done.stdout.split() == ["True", "True"], done.stderr[-2000:]


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
NAMED = {"name": "person", "description": "Person"}
FUNCTION = {"type": "function", "function": {**NAMED, "parameters": PERSON}}


def chat_calls(answer: Any) -> list[tuple[str, Any]]:
    calls = answer["choices"][0]["message"].get("tool_calls") or ()
    return [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]


def response_calls(answer: Any) -> list[tuple[str, Any]]:
    calls = (item for item in answer["output"] if item["type"] == "function_call")
    return [(call["name"], json.loads(call["arguments"])) for call in calls]


def message_calls(answer: Any) -> list[tuple[str, Any]]:
    return [(block["name"], block["input"]) for block in answer["content"] if block["type"] == "tool_use"]


FORCED: dict[str, tuple[str, dict[str, Any], Callable[[Any], list[tuple[str, Any]]]]] = {
    "chat, required": ("/v1/chat/completions", {"tools": [FUNCTION], "tool_choice": "required"}, chat_calls),
    "chat, named": ("/v1/chat/completions", {"tools": [FUNCTION], "tool_choice": FUNCTION}, chat_calls),
    "responses": (
        "/v1/responses",
        {"tools": [{"type": "function", **NAMED, "parameters": PERSON}], "tool_choice": "required"},
        response_calls,
    ),
    "messages": (
        "/v1/messages",
        {"tools": [{**NAMED, "input_schema": PERSON}], "tool_choice": {"type": "any"}},
        message_calls,
    ),
}


@pytest.mark.parametrize("text", ["Hi", "Bob is 42", "How do I list my models?"])
@pytest.mark.parametrize("way", FORCED)
def test_a_forced_tool_is_called_and_the_call_ends(shared_daemon: RunningDaemon, way: str, text: str):
    path, fields, calls = FORCED[way]
    prompt: dict[str, Any] = {"messages": [{"role": "user", "content": text}], "max_tokens": 300}
    if path == "/v1/responses":
        prompt = {"input": text, "max_output_tokens": 300}
    response = httpx.post(
        f"{shared_daemon.url}{path}", json={"model": "guide", **prompt, **fields}, timeout=RUN_SECONDS
    )
    ((name, arguments),) = calls(response.json())
    assert name == "person" and arguments.keys() == {"name", "age"}, response.text


def test_codex_for_ollama_runs_its_shell(run: Run, agents_daemon: RunningDaemon, tmp_path: Path):
    folder = installing.npm("codex", "@openai/codex")
    (tmp_path / "codex").mkdir()
    done = run(
        folder / "node_modules/.bin/codex",
        *("exec", "--oss", "--local-provider", "ollama", "-m", "smart"),
        *("--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check", TASK),
        CODEX_HOME=tmp_path / "codex",
        CODEX_OSS_BASE_URL=f"{agents_daemon.url}/v1",
    )
    assert tool_engine.SAID in done.stdout, done.stderr[-2000:]


def test_codex_with_a_provider_of_its_own_runs_its_shell(run: Run, agents_daemon: RunningDaemon, tmp_path: Path):
    folder = installing.npm("codex", "@openai/codex")
    settings = tmp_path / "codex"
    settings.mkdir()
    provider = f'name = "oprel"\nbase_url = "{agents_daemon.url}/v1"\nwire_api = "responses"\n'
    (settings / "config.toml").write_text(
        f'model = "smart"\nmodel_provider = "oprel"\n[model_providers.oprel]\n{provider}'
    )
    done = run(
        folder / "node_modules/.bin/codex",
        *("exec", "--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check", TASK),
        CODEX_HOME=settings,
    )
    assert tool_engine.SAID in done.stdout, done.stderr[-2000:]


def test_claude_code_runs_its_shell(run: Run, agents_daemon: RunningDaemon):
    folder = installing.npm("claude-code", "@anthropic-ai/claude-code")
    done = run(
        folder / "node_modules/.bin/claude",
        *("--model", "smart", "--dangerously-skip-permissions", "--output-format", "stream-json", "--verbose"),
        *("-p", TASK),
        ANTHROPIC_BASE_URL=agents_daemon.url,
        ANTHROPIC_API_KEY="any",
        ANTHROPIC_SMALL_FAST_MODEL="smart",
        ANTHROPIC_DEFAULT_HAIKU_MODEL="smart",
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
        DISABLE_AUTOUPDATER="1",
        DISABLE_TELEMETRY="1",
        IS_SANDBOX="1",
    )
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert (result["subtype"], result["num_turns"]) == ("success", 2), done.stdout[-2000:]
    assert tool_engine.SAID in result["result"]


def test_javas_default_client_is_answered(run: Run, shared_daemon: RunningDaemon):
    """It offers HTTP/2 over plain TCP, and sends the body with the offer."""
    done = run(installing.jdk(), FOLDER / "Ask.java", shared_daemon.url)
    assert done.returncode == 0, done.stderr
    status, whole, streamed_status, *lines = done.stdout.splitlines()
    pieces = [json.loads(line) for line in lines]
    assert (status, streamed_status) == ("200", "200"), done.stdout
    assert json.loads(whole)["response"] == "".join(piece["response"] for piece in pieces) != ""
    assert [piece["done"] for piece in pieces][-2:] == [False, True]
