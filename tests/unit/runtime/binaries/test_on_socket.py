"""Servers that know only ports, on a Unix socket."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from oprel.runtime.backends.launching import python_of
from oprel.runtime.binaries import on_socket
from tests.conftest import eventually, temporary_home

PLAIN = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(sys.argv[1].encode())
http.server.ThreadingHTTPServer(("127.0.0.1", 1), Handler).serve_forever()
"""
UVICORN = """
import sys, uvicorn
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": sys.argv[1].encode()})
uvicorn.run(app, host="0.0.0.0", port=1, lifespan="off")
"""


@pytest.mark.parametrize("source", [PLAIN, UVICORN], ids=["http.server", "uvicorn"])
def test_a_server_of_ports_listens_on_the_socket_and_nowhere_else(source: str) -> None:
    with temporary_home() as folder:
        program, socket = folder / "server.py", folder / "x.sock"
        program.write_text(source)
        command = [sys.executable, on_socket.__file__, str(socket), str(program), "its argument"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            try:
                eventually(lambda: socket.exists() or process.poll() is not None)
                with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket), retries=5)) as http:
                    assert http.get("http://engine/").text == "its argument"
            finally:
                process.kill()


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("#!/opt/venv/bin/python3.11\nimport x", "/opt/venv/bin/python3.11"),
        ("#!/bin/sh\n'''exec' \"/opt/a b/bin/python3\" \"$0\" \"$@\"\n' '''", "/opt/a b/bin/python3"),
        ("import x", sys.executable),
    ],
)
def test_a_script_is_run_by_the_python_that_it_names(tmp_path: Path, start: str, expected: str) -> None:
    (tmp_path / "script").write_text(start)
    assert python_of(tmp_path / "script") == expected


def test_or_by_the_one_beside_it(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import x")
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert python_of(tmp_path / "main.py") == str(python)
