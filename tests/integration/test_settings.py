"""Settings that a running daemon does not have are reported, and `oprel restart` puts them into effect."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import oprel
from oprel.client.own_daemon import serve_command, stop_daemon
from oprel.client.plain.daemon_state import daemon_pid
from oprel.core.config import Config
from oprel.core.configuration.published import published
from tests.conftest import DEADLINE, RunningDaemon, alive, eventually

StartDaemon = Callable[..., RunningDaemon]


@dataclass
class Commands:
    """Runs commands on a home, with a configuration file and variables of the test."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def configure(self, text: str) -> Path:
        file = self.folder / "oprel" / "config.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return file

    def __call__(self, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-P", "-m", "oprel", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            env={**os.environ, "XDG_CONFIG_HOME": str(self.folder), **self.variables, **variables},
        )


@pytest.fixture
def run(config: Config, tmp_path: Path) -> Iterator[Commands]:
    yield Commands(tmp_path, {"OPREL_HOME": config.home, "OPREL_SERVER_PORT": "0"})
    stop_daemon(config, now=True)


def test_what_differs_is_said_in_one_line_until_the_daemon_is_restarted(run: Commands, config: Config) -> None:
    assert run("list").stderr == ""
    pid = daemon_pid(config)
    file = run.configure("ctx_size: 256\n")
    line = "ctx_size 256 is set here, but the running daemon has 0 (automatic): `oprel restart`\n"
    for command in (["list"], ["ps"], ["show", "guide"], ["logs"]):
        done = run(*command)
        assert (done.returncode, done.stderr) == (0, line)
    assert daemon_pid(config) == pid
    restarted = run("restart")
    assert (restarted.returncode, restarted.stdout, restarted.stderr) == (0, "restarted the daemon\n", "")
    assert daemon_pid(config) not in (pid, None) and not alive(pid)
    assert run("list").stderr == ""
    effective = published(config)
    assert effective and effective.settings["ctx_size"] == (256, f"{file}:1", "")


def test_another_machines_daemon_is_not_compared(start_daemon: StartDaemon, run: Commands) -> None:
    url = start_daemon().url
    assert "ctx_size" in run("list", OPREL_CTX_SIZE="256").stderr
    assert run("list", OPREL_CTX_SIZE="256", OPREL_HOST=url).stderr == ""


def test_a_daemon_that_was_killed_is_not_compared(start_daemon: StartDaemon, run: Commands) -> None:
    start_daemon().end(signal.SIGKILL)
    assert "ctx_size" not in run("ps", OPREL_CTX_SIZE="256").stderr


def test_a_variable_without_a_meaning_is_named(run: Commands) -> None:
    line = "OPREL_CTX_SZE has no meaning: did you mean OPREL_CTX_SIZE?\n"
    assert run("list", OPREL_CTX_SZE="256").stderr == line


def test_an_older_daemon_works_and_a_restart_is_offered(config: Config, run: Commands) -> None:
    program = "import sys, oprel; oprel.__version__ = '0.0.1'; from oprel.cli.main import main; main(sys.argv[1:])"
    words = serve_command(config)[4:]
    with subprocess.Popen([sys.executable, "-P", "-c", program, *words], stderr=subprocess.DEVNULL) as older:
        eventually(lambda: published(config) and config.socket_path.exists())
        done = run("run", "guide", "--option", "num_predict=1", "hi")
        assert done.returncode == 0 and done.stdout
        version = oprel.__version__
        assert f"the running daemon has version 0.0.1, this command {version}: `oprel restart`" in done.stderr
        assert run("version").stderr == "Warning: the daemon has version 0.0.1: `oprel restart`\n"
        assert run("restart").stdout == "restarted the daemon\n"
        older.wait(DEADLINE)
    assert run("version").stderr == ""


def test_a_restart_keeps_the_flags_of_serve(start_daemon: StartDaemon, run: Commands, config: Config) -> None:
    start_daemon(max_queue=7, ctx_size=128, engine_args="--api-key secret")
    done = run("restart", OPREL_CTX_SIZE="256")
    assert done.stderr == "not kept, since it may hold a secret: engine_args of `oprel serve`\n"
    effective = published(config)
    assert effective
    values = [effective.settings[name].value for name in ("max_queue", "ctx_size", "engine_args")]
    assert values == [7, 256, ""]


def test_a_restart_without_a_daemon_starts_one(run: Commands, config: Config) -> None:
    assert run("restart").stdout == "started the daemon: none was running\n"
    assert daemon_pid(config)


def test_a_daemon_elsewhere_is_not_restarted(run: Commands) -> None:
    done = run("restart", OPREL_HOST="http://box:1")
    assert done.returncode == 2 and "Restart it on its machine." in done.stderr


def test_the_settings_of_a_daemon_can_be_requested(start_daemon: StartDaemon) -> None:
    import httpx

    daemon = start_daemon(engine_args="--api-key secret")
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(daemon.config.socket_path))) as client:
        answer = client.get("http://localhost/settings")
    settings = {entry["name"]: entry for entry in answer.json()["settings"]}
    assert settings["engine_args"] == {
        "name": "engine_args",
        "value": "--api-key ***",
        "default": "",
        "origin": "--engine-args",
    }
    assert settings["ctx_size"]["origin"] is None
    assert "secret" not in answer.text and "secret" not in (daemon.config.run_dir / "settings.json").read_text()


def test_web_pages_see_no_settings(shared_daemon: RunningDaemon) -> None:
    import httpx

    answer = httpx.get(f"{shared_daemon.url}/settings", headers={"Origin": "http://localhost"})
    assert answer.status_code == 401 and "settings" not in json.dumps(answer.json())
