"""A folder of safetensors, served by other engines than llama.cpp: fake ones here, real ones in tests/engines."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from oprel.client_api import Client
from oprel.core.config import Config
from oprel.core.exceptions import InvalidModelError, NoEngineError, UnsupportedError
from oprel.runtime.binaries.choices import Choices
from oprel.runtime.supervisor import procstat
from oprel.wire.daemon import PlanResponse
from tests.conftest import RunningDaemon, eventually
from tests.fixtures.fake_openai_engine import DIES, WORDS, install
from tests.fixtures.hf_llama import write_tiny_llama

StartDaemon = Callable[..., RunningDaemon]
ANSWER = "".join(WORDS)
MACHINE = Path(__file__).parents[1] / "data" / "machines" / "nvidia-24gb.json"
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_llama(tmp_path_factory.mktemp("hf") / "tiny"))


@pytest.fixture
def engines(config: Config) -> Callable[..., None]:
    """Have fake engines with these faults, the first preferred."""

    def have(**faults: dict[str, object]) -> None:
        programs = {name: str(install(config.home_dir / name, name, **own)) for name, own in faults.items()}
        Choices(next(iter(faults), ""), programs).write(config.home_dir)

    return have


def pid_of(client: Client) -> int:
    return client.engines().models[0].pid or 0


def test_an_engine_that_uses_the_gpu_is_not_blamed_for_another(
    engines: Callable[..., None], start_daemon: StartDaemon, folder: str
) -> None:
    engines(vllm={})
    with start_daemon(hardware=str(MACHINE)).client as client:
        assert "this engine uses only the CPU" in client.health().warnings[0]
        client.chat(folder, HELLO)
        assert client.health().warnings == []


def test_a_folder_is_served_and_shown(engines: Callable[..., None], start_daemon: StartDaemon, folder: str) -> None:
    engines(vllm={})
    with start_daemon().client as client:
        assert client.chat(folder, HELLO).message.content == ANSWER
        assert "".join(piece.response for piece in client.generate(folder, "hello", stream=True)) == ANSWER
        shown = client.show(folder)
        details, plan = shown.details, PlanResponse.model_validate(shown.plan)
        assert plan.command[1:3] == ["serve", folder]
        assert (details.format, details.family, details.quantization_level) == ("safetensors", "llama", "F32")
        assert client.ps().models[0].name == folder


def test_an_imported_folder_and_a_model_made_of_one_are_served(
    engines: Callable[..., None], start_daemon: StartDaemon, folder: str
) -> None:
    engines(vllm={})
    with start_daemon().client as client:
        list(client.import_model("imported", folder))
        list(client.import_model("placed", folder, how="in_place"))
        client.create("made", from_=folder, system="Be brief.")
        assert list(client.verify_cache())[-1].status == "success"
        with pytest.raises(UnsupportedError, match="only GGUF models can be quantized"):
            client.create("small", from_="made", quantize="q4_0")
        for name in ("imported", "made"):
            assert client.chat(name, HELLO).message.content == ANSWER
        client.delete("imported")
        assert client.chat("made", HELLO).message.content == ANSWER


def test_an_engine_that_says_that_it_is_dead_is_replaced_in_mid_answer(
    engines: Callable[..., None], start_daemon: StartDaemon, folder: str
) -> None:
    engines(vllm={})
    with start_daemon().client as client:
        pieces = list(client.generate(folder, DIES, stream=True))
        assert "".join(piece.response for piece in pieces) == ANSWER
        assert pieces[-1].recoveries == 1


def test_an_engine_that_does_not_start_gives_way_to_the_next_visibly(
    engines: Callable[..., None], start_daemon: StartDaemon, folder: str
) -> None:
    engines(vllm={"refuse": "no kernels for this CPU"}, transformers={})
    daemon = start_daemon()
    with daemon.client as client:
        assert client.chat(folder, HELLO).message.content == ANSWER
        told = client.engines().models[0].model_dump_json()
    expected = "transformers, as vllm did not start (exit status 1: ValueError: no kernels for this CPU)"
    assert expected in told and expected in daemon.log


def test_nothing_is_left_of_an_engine_with_children_when_its_daemon_is_killed(
    engines: Callable[..., None], start_daemon: StartDaemon, folder: str
) -> None:
    engines(vllm={})
    daemon = start_daemon()
    with daemon.client as client:
        client.chat(folder, HELLO)
        processes = procstat.group(pid_of(client))
    assert len(processes) == 3  # the tether, the server, its child
    daemon.end(signal.SIGKILL)
    eventually(lambda: not any(process.is_running() for process in processes))
    start_daemon(restore="off")
    assert not list(daemon.config.run_dir.glob("*.d"))


def test_nothing_is_left_of_one_that_is_stopped_or_killed(
    engines: Callable[..., None], start_daemon: StartDaemon, folder: str
) -> None:
    engines(vllm={})
    daemon = start_daemon()
    with daemon.client as client:
        client.chat(folder, HELLO)
        first = procstat.group(pid_of(client))
        server = next(process for process in first if "tether" not in " ".join(process.cmdline()[:5]))
        os.kill(server.pid, signal.SIGKILL)
        assert client.chat(folder, HELLO).message.content == ANSWER
        second = procstat.group(pid_of(client))
        client.unload(folder)
    eventually(lambda: not any(process.is_running() for process in (*first, *second)))
    assert not list(Path(daemon.config.run_dir).glob("*.d"))


def test_without_an_engine_for_it_the_best_one_to_get_is_told(start_daemon: StartDaemon, folder: str) -> None:
    with start_daemon().client as client, pytest.raises(NoEngineError, match=r"\(llama in safetensors, F32") as caught:
        client.chat(folder, HELLO)
    assert "To install it: oprel engines install" in caught.value.resolution_steps[0]


def test_a_folder_with_errors_is_refused_before_an_engine_sees_it(
    engines: Callable[..., None], start_daemon: StartDaemon, tmp_path: Path
) -> None:
    engines(vllm={})
    broken = write_tiny_llama(tmp_path / "broken")
    (broken / "tokenizer.json").unlink()
    with start_daemon().client as client, pytest.raises(InvalidModelError, match="it has no tokenizer"):
        client.chat(str(broken), HELLO)
