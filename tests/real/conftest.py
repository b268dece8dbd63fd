"""Two published models, which `bin/test real` fetches, and a daemon that has them."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from oprel.core.config import Config
from oprel.core.models.manifests import Manifest, Manifests
from tests.conftest import RunningDaemon, running_daemon, temporary_home

MODELS = Path(__file__).parents[2] / ".real-models"
# Prefill as decoding does it, or the last bits differ, and at times a token of an answer that is resumed.
STEADY = "--ubatch-size 1"
GEMMA, MINILM = MODELS / "gemma-3-270m-q4_k_m.gguf", MODELS / "all-MiniLM-L6-v2"


@pytest.fixture(scope="session")
def daemon() -> Iterator[RunningDaemon]:
    """With a base model of 270 million parameters as `gemma`, and a sentence encoder as `minilm`."""
    with temporary_home() as folder:
        models = json.dumps({"gemma:latest": {"engine_args": STEADY}})
        config = Config(home=str(folder), server_port=0, keep_alive="-1", n_threads=1, ctx_size=2048, models=models)
        manifests = Manifests(config.models_dir)
        manifests.put(Manifest(name="gemma:latest", weights=GEMMA))
        manifests.put(Manifest(name="minilm:latest", weights=MINILM))
        with running_daemon(config) as daemon:
            yield daemon


@pytest.fixture(scope="session")
def http(daemon: RunningDaemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=daemon.url, timeout=300, trust_env=False) as http:
        yield http
