"""Engines and daemons that end in every way, and what is left of them."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

import oprel
from oprel.client.own_daemon import stop_daemon
from oprel.client.plain.daemon_state import is_up
from oprel.core.config import Config
from tests.conftest import DEADLINE, RunningDaemon, alive, eventually, running_daemon
from tests.fixtures.fake_engine import install
from tests.fixtures.gguf_factory import write_tiny_gguf

pytestmark = pytest.mark.long

StartDaemon = Callable[..., RunningDaemon]


@pytest.fixture
def bystander(tmp_path: Path):
    """A process called llama-server that has nothing to do with oprel."""
    program = tmp_path / "llama-server"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "600"]) as process:
        yield process
        process.kill()


def test_a_killed_daemon_leaves_no_engine_and_no_hindrance(start_daemon, tiny: Path, endless: Path, bystander):
    daemon = start_daemon(ctx_size=32_768)
    with daemon.client as client:
        stream = client.generate(str(endless), "hello", stream=True)
        next(stream)
        (engine,) = client.engines().models
        daemon.process.kill()
        daemon.process.wait()
        eventually(lambda: not alive(engine.pid))
        with pytest.raises(oprel.OprelError):
            list(stream)
    assert bystander.poll() is None
    with running_daemon(daemon.config.replace(restore="off")) as again, again.client as client:
        assert client.generate(str(tiny), "hello", options={"num_predict": 2}).done
        assert {path.name for path in again.config.run_dir.glob("*.sock")} == {"engine-1.sock", "oprel.sock"}


def test_a_terminated_daemon_stops_its_engines_and_takes_its_sockets_along(start_daemon: StartDaemon, tiny: Path):
    daemon = start_daemon()
    with daemon.client as client:
        client.load(str(tiny))
        (engine,) = client.engines().models
    assert engine.pid
    assert daemon.end(signal.SIGTERM) == 0
    assert not alive(engine.pid)
    assert list(daemon.config.run_dir.glob("*.sock")) == []


def test_a_daemon_asked_to_stop_lets_answers_finish(start_daemon: StartDaemon, tiny: Path, tmp_path: Path):
    program = install(tmp_path / "engine", tokens=20, token_delay=0.05)
    daemon = start_daemon(engine_path=str(program))
    with daemon.client as client:
        stream = client.generate(str(tiny), "hello", stream=True)
        next(stream)
        daemon.process.terminate()
        assert list(stream)[-1].done


def test_an_answer_that_outlasts_the_drain_ends_in_an_error(start_daemon: StartDaemon, tiny: Path, tmp_path: Path):
    program = install(tmp_path / "engine", tokens=10_000, token_delay=0.01)
    daemon = start_daemon(engine_path=str(program), drain_timeout="1s")
    with daemon.client as client:
        stream = client.generate(str(tiny), "hello", stream=True)
        next(stream)
        daemon.process.terminate()
        with pytest.raises(oprel.ShuttingDownError):
            list(stream)
    assert daemon.process.wait(DEADLINE) == 0
    assert "Traceback" not in daemon.log


def test_who_comes_while_a_daemon_ends_gets_the_next_one(start_daemon: StartDaemon, tiny: Path, tmp_path: Path):
    program = install(tmp_path / "engine", tokens=20, token_delay=0.05)
    first = start_daemon(engine_path=str(program))
    with first.client as client:
        stream = client.generate(str(tiny), "hello", stream=True)
        next(stream)
        first.process.terminate()
        eventually(lambda: not is_up(first.config))
        second = start_daemon()
        with second.client as other:
            assert other.health().pid == second.process.pid
        list(stream)


def test_there_is_one_daemon_a_home(start_daemon: StartDaemon):
    daemon = start_daemon()
    command = [sys.executable, "-P", "-m", "oprel", "serve", f"--home={daemon.config.home}", "--server-port=0"]
    second = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert second.returncode == 2
    assert f"pid {daemon.process.pid}" in second.stderr


def test_a_model_goes_when_its_keep_alive_is_over(start_daemon: StartDaemon, tiny: Path):
    with start_daemon().client as client:
        client.generate(str(tiny), "x", options={"num_predict": 1}, keep_alive="100ms")
        (engine,) = client.engines().models
        eventually(lambda: not client.engines().models)
        assert not alive(engine.pid)


def test_a_model_that_is_asked_for_while_it_goes_is_there_again(start_daemon: StartDaemon, tiny: Path):
    with start_daemon().client as client:
        for _ in range(10):
            reply = client.generate(str(tiny), "x", options={"num_predict": 1}, keep_alive="1ms")
            assert reply.done


def test_a_smaller_context_joins_and_a_larger_one_reloads(start_daemon: StartDaemon, tiny: Path):
    with start_daemon(ctx_size=256).client as client:

        def engine_after(num_ctx: int) -> tuple[int | None, int]:
            client.generate(str(tiny), "x", options={"num_predict": 1, "num_ctx": num_ctx})
            (engine,) = client.engines().models
            return engine.pid, engine.context_length

        first, smaller, larger = engine_after(256), engine_after(128), engine_after(512)
    assert first == smaller
    assert larger[0] != first[0] and larger[1] == 512


def test_a_file_that_was_replaced_is_loaded_anew(start_daemon: StartDaemon, tiny: Path, tmp_path: Path):
    file = tmp_path / "model.gguf"
    file.write_bytes(tiny.read_bytes())
    with start_daemon().client as client:
        first = client.generate(str(file), "x", options={"seed": 1, "num_predict": 8}).response
        write_tiny_gguf(file, seed=2)
        assert client.generate(str(file), "x", options={"seed": 1, "num_predict": 8}).response != first


def test_an_engine_built_for_another_cpu_is_set_aside_and_this_is_shown(start_daemon, tiny: Path, tmp_path: Path):
    broken = install(tmp_path / "engine", exit_at_start=-signal.SIGILL)
    daemon = start_daemon(engine_path=str(broken))
    with daemon.client as client:
        assert client.generate(str(tiny), "x", options={"num_predict": 2}).done
        assert client.engines().models[0].engine == "xllamacpp wheel"
        (aside,) = client.health().engines_set_aside
    assert (aside.engine, "SIGILL" in aside.reason) == (str(broken), True)
    assert f"engine {broken} set aside" in daemon.log


def test_a_memory_shortage_is_told_with_advice(start_daemon: StartDaemon, tiny: Path, tmp_path: Path):
    text = "alloc_tensor_range: failed to allocate CPU buffer of size 137438953472"
    program = install(tmp_path / "engine", exit_at_start=1, log_at_start=text)
    with start_daemon(engine_path=str(program)).client as client, pytest.raises(oprel.BackendStartError) as caught:
        client.generate(str(tiny), "x")
    assert "failed to allocate" in caught.value.message
    assert "smaller" in caught.value.resolution_steps[0]


def test_options_that_fail_to_load_do_not_stick(start_daemon: StartDaemon, tiny: Path, tmp_path: Path):
    program = tmp_path / "llama-server"
    refuses = 'case " $* " in *" --threads 77 "*) echo "77 threads are too many" >&2; exit 1;; esac'
    program.write_text(f'#!/bin/sh\n{refuses}\nexec {install(tmp_path / "engine")} "$@"\n')
    program.chmod(0o755)
    with start_daemon(engine_path=str(program)).client as client:
        with pytest.raises(oprel.BackendError, match="77 threads are too many"):
            client.generate(str(tiny), "x", options={"num_thread": 77})
        assert client.generate(str(tiny), "x", options={"num_predict": 1}).done


def test_twenty_processes_that_find_no_daemon_start_one(home: Path, tiny: Path):
    script = (
        "import sys, oprel\n"
        "reply = oprel.chat(sys.argv[1], [{'role': 'user', 'content': 'hello'}], options={'num_predict': 5})\n"
        "print(reply.done, reply.eval_count > 0)\n"
    )
    environment = {**os.environ, "OPREL_HOME": str(home), "OPREL_SERVER_PORT": "0"}
    command = [sys.executable, "-c", script, str(tiny)]
    asking = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(20)
    ]
    answers = [process.communicate(timeout=DEADLINE) for process in asking]
    config = Config(home=str(home), server_port=0)
    try:
        assert [out for out, _ in answers] == ["True True\n"] * 20, answers
        assert (home / "logs" / "daemon.log").read_text().count("oprel listens on") == 1
    finally:
        stop_daemon(config)


def test_a_daemon_that_cannot_start_is_an_error_with_the_end_of_its_log(home: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            oprel.Client(config=Config(home=str(home), server_port=port)) as client,
            pytest.raises(oprel.DaemonStartError) as caught,
        ):
            client.list()
    assert f"cannot listen on 127.0.0.1:{port}" in caught.value.message


def test_a_home_that_cannot_be_written_is_an_error(tmp_path: Path):
    (tmp_path / "file").touch()
    with (
        oprel.Client(config=Config(home=str(tmp_path / "file" / "home"), server_port=0)) as client,
        pytest.raises(oprel.ConfigError) as caught,
    ):
        client.list()
    assert "cannot write to" in caught.value.message


def test_an_explicit_address_is_not_started(home: Path):
    with (
        oprel.Client(f"unix:{home}/nothing.sock") as client,
        pytest.raises(oprel.ConnectError, match="no daemon answers"),
    ):
        client.list()


def test_no_engine_at_all_is_told_with_what_to_install(home: Path, tiny: Path, tmp_path: Path):
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('libgomp.so.1: cannot open shared object file')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PATH": "/nonexistent"}
    config = Config(home=str(home), server_port=0)
    command = [sys.executable, "-P", "-m", "oprel", "serve", f"--home={config.home}", "--server-port=0"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: is_up(config))
            with oprel.Client(config=config) as client, pytest.raises(oprel.NoEngineError) as caught:
                client.generate(str(tiny), "x")
        finally:
            process.terminate()
    assert "libgomp.so.1" in caught.value.message
    assert "pip install xllamacpp" in caught.value.resolution_steps[0]


def test_a_daemon_goes_on_after_all_kinds_of_nonsense(start_daemon: StartDaemon):
    daemon = start_daemon()
    with httpx.Client(base_url=daemon.url, trust_env=False, timeout=DEADLINE) as http:
        for content in (b"", b"\0" * 1000, b'{"model": {"a": 1}}', b"[[[[", b'"' + b"x" * 10**6):
            for path in ("/api/generate", "/api/chat", "/api/embed", "/api/show", "/load", "/unload", "/generate"):
                assert http.post(path, content=content).status_code == 400
    assert "Traceback" not in daemon.log
