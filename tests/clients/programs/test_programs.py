"""Programs of others, as their users run them, against a real daemon. `bin/test clients` runs these alone."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.programs import installing
from tests.conftest import RunningDaemon
from tests.fixtures import tool_engine
from tests.fixtures.gguf_factory import Shape, write_tiny_gguf

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
    path = write_tiny_gguf(tmp_path / "smart.gguf", shape=Shape(context=131_072))
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
