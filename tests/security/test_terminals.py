"""Whatever a model, a request or another machine says, it controls no terminal and forges no entry of a log."""

import contextlib
import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.conftest import DEADLINE, RunningDaemon

HOSTILE = "\x1b]0;title\x07\x1b[2J\u202eX\x9b31m\x85\u2066\nError: FORGED"
# Runs several commands one after the other, as starting each takes most of its time.
PROGRAM = """
import json, sys
from oprel.cli.main import main
for words in json.loads(sys.argv[1]):
    print("----", ascii(words), flush=True)
    main(words)
"""
MARKS = [mark.encode() for mark in ("\x1b]0;", "\x07", "\x1b[2J", "\u202e", "\x9b", "\x85", "\u2066")]


def at_terminal(*commands: Sequence[str], typed: str = "", environment: Mapping[str, str]) -> list[bytes]:
    """The lines that commands write to their terminal, where `typed` was typed before."""
    keyboard, screen = os.openpty()
    variables = {**os.environ, "TERM": "xterm-256color", **environment}
    program = [sys.executable, "-P", "-c", PROGRAM, json.dumps(commands)]
    process = subprocess.Popen(
        program, stdin=screen, stdout=screen, stderr=screen, start_new_session=True, env=variables
    )
    os.close(screen)
    os.write(keyboard, typed.encode())
    written = b""
    try:
        while part := read(keyboard):
            written += part
        process.wait(DEADLINE)
    finally:
        process.kill()
        process.wait()
        os.close(keyboard)
    return written.replace(b"\r", b"").split(b"\n")


def controls(written: list[bytes]) -> list[bytes]:
    return [line for line in written if any(mark in line for mark in MARKS)]


def read(keyboard: int) -> bytes:
    try:
        return os.read(keyboard, 65536)
    except OSError as error:  # how Linux says that the other side was closed
        if error.errno != errno.EIO:
            raise
        return b""


@pytest.fixture
def hostile_model(shared_daemon: RunningDaemon) -> Iterator[dict[str, str]]:
    """The variables for commands, whose daemon has a model called `hostile`."""
    body = {
        "model": "hostile",
        "from": "guide",
        "system": HOSTILE,
        "license": HOSTILE,
        "template": f"{{# {HOSTILE} #}}{{{{ messages[0].content }}}}",
        "parameters": {"stop": [HOSTILE]},
        "messages": [{"role": "user", "content": HOSTILE}, {"role": "assistant", "content": HOSTILE}],
        "stream": False,
    }
    with httpx.Client(base_url=shared_daemon.url, trust_env=False, timeout=DEADLINE) as http:
        http.post("/api/create", json=body).raise_for_status()
        yield {"OPREL_HOME": shared_daemon.config.home}
        http.request("DELETE", "/api/delete", json={"model": "hostile"}).raise_for_status()


COMMANDS = [
    *(("show", "hostile"), ("show", "-v", "hostile"), ("show", "--json", "hostile"), ("show", "--system", "hostile")),
    *(("show", "--template", "hostile"), ("show", "--license", "hostile"), ("show", "--modelfile", "hostile")),
    *(("show", "--parameters", "hostile"), ("logs",), ("logs", HOSTILE), ("show", HOSTILE), ("rm", HOSTILE)),
    *(("cp", HOSTILE, "x"), ("stop", HOSTILE), ("pull", HOSTILE), ("inspect", HOSTILE), (HOSTILE,), ("list", HOSTILE)),
]


def test_a_model_controls_no_terminal(hostile_model: dict[str, str]) -> None:
    written = at_terminal(*COMMANDS, environment=hostile_model)
    assert sum(b"title" in line for line in written) > len(COMMANDS)
    assert controls(written) == []


def test_neither_do_messages_that_it_was_saved_with(hostile_model: dict[str, str]) -> None:
    environment = {**hostile_model, "TERM": "dumb"}
    written = at_terminal(("chat", "hostile"), typed="/show system\n/show\n/bye\n", environment=environment)
    assert sum(b"title" in line for line in written) == 3
    assert controls(written) == []


def test_a_name_forges_no_entry_of_the_log(shared_daemon: RunningDaemon, tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / f"{HOSTILE}.gguf"
    file.write_bytes(tiny.read_bytes())
    with httpx.Client(base_url=shared_daemon.url, trust_env=False, timeout=DEADLINE) as http:
        body = {"model": str(file), "prompt": "x", "options": {"num_predict": 1}, "keep_alive": 0, "stream": False}
        http.post("/api/generate", json=body).raise_for_status()
    written = shared_daemon.log.encode().split(b"\n")
    assert any(b"title" in line for line in written)
    assert controls(written) == []
    assert [line for line in written if line.startswith(b"Error: FORGED")] == []


class HostileDaemon(BaseHTTPRequestHandler):
    """Answers every request with what would control a terminal."""

    def log_message(self, format: str, *args: object) -> None: ...

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        model = {
            "name": HOSTILE,
            "model": HOSTILE,
            "size": 1,
            "digest": HOSTILE,
            "modified_at": "2026-01-01T00:00:00Z",
            "details": {"family": HOSTILE, "quantization_level": HOSTILE, "parameter_size": HOSTILE},
        }
        text = {"model": "x", "created_at": "2026-01-01T00:00:00Z", "response": HOSTILE, "thinking": HOSTILE}
        answers: dict[str, object] = {
            "/api/tags": {"models": [model]},
            "/api/ps": {"models": [{**model, "expires_at": "2027-01-01T00:00:00Z", "size_vram": 1}]},
            "/api/version": {"version": HOSTILE},
            "/api/show": {
                **dict.fromkeys(("license", "modelfile", "parameters", "template", "system"), HOSTILE),
                "details": model["details"],
                "model_info": {HOSTILE: HOSTILE},
                "capabilities": [HOSTILE],
                "modified_at": "2026-01-01T00:00:00Z",
            },
            "/api/generate": {**text, "done": True, "done_reason": "stop"},
            "/api/pull": {"status": f"pulling {HOSTILE}", "digest": HOSTILE, "completed": 1, "total": 3},
        }
        answer = answers.get(self.path.partition("?")[0])
        content = json.dumps(answer or {"error": HOSTILE}).encode()
        self.send_response(200 if answer else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(content)

    do_POST = do_DELETE = do_HEAD = do_GET


@pytest.fixture
def other_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with ThreadingHTTPServer(("127.0.0.1", 0), HostileDaemon) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        home = tmp_path_factory.mktemp("home")
        yield {"OPREL_HOST": f"http://127.0.0.1:{server.server_port}", "OPREL_HOME": str(home)}
        server.shutdown()
        thread.join()


OF_ANOTHER = (
    *("list", "ps", "version", "show x", "show --json x", "stop x", "rm x", "cp x y", "pull x", "logs x", "search x"),
    *("doctor", "crash ls", "quarantine ls", "create x -f /dev/null"),
)


def test_neither_does_another_machine(other_machine: dict[str, str]) -> None:
    written = at_terminal(*map(str.split, OF_ANOTHER), environment=other_machine)
    assert sum(b"title" in line for line in written) > len(OF_ANOTHER)
    assert controls(written) == []
    assert b"Error: FORGED" not in written


def test_an_answer_of_another_machine_is_text(other_machine: dict[str, str]) -> None:
    written = at_terminal(("run", "x", "hi"), environment=other_machine)
    assert written.count(b"]0;title[2JX31m") == 1 and controls(written) == []
