"""Real vLLM and real `transformers serve`, of .venv-engines: `bin/test vllm` makes it and runs these tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from oprel.core.config import Config
from oprel.runtime.binaries.choices import Choices
from tests.conftest import RunningDaemon, running_daemon, temporary_home
from tests.fixtures.hf_llama import write_tiny_llama

ENGINES = Path(__file__).parents[2] / ".venv-engines" / "bin"
STARTING = 180.0  # s that an engine may take to start, twice


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model in safetensors."""
    return write_tiny_llama(tmp_path_factory.mktemp("hf") / "tiny")


@pytest.fixture(scope="module")
def daemon(request: pytest.FixtureRequest) -> Iterator[RunningDaemon]:
    """With the engine that the module names as `ENGINE`, and as few seconds of its start as can be."""
    name = request.module.ENGINE
    with temporary_home() as home:
        programs = {one: str(ENGINES / one) for one in ("vllm", "transformers")}
        Choices(name, programs).write(home)
        arguments = request.module.ARGUMENTS
        config = Config(home=str(home), server_port=0, keep_alive="-1", ctx_size=512, engine_args=arguments)
        with running_daemon(config) as daemon:
            yield daemon
