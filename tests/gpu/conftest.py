"""llama-server with Vulkan (bin/vulkan_engine.py) on a pretended card of 2 GiB, and daemons that use both."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from bin.vulkan_engine import engine as vulkan_engine
from oprel.core.config import Config
from oprel.core.models.manifests import Manifest, Manifests
from tests.conftest import RunningDaemon
from tests.fixtures.gguf_factory import Shape, write_tiny_gguf
from tests.fixtures.small_cards import SmallCard, lasting_folder

CARD_MIB = 2048
# 16 KiB of KV cache for each token, and 7 MB of weights.
WIDE_CACHE = Shape(layers=32, width=128, heads=4, kv_heads=4, feed_forward=128, context=131_072)

ENGINE = vulkan_engine().resolve()  # read before the tests lose the variables of oprel

StartDaemon = Callable[..., RunningDaemon]


@pytest.fixture(scope="session")
def engine() -> Path:
    assert ENGINE.exists(), "bin/test gpu builds it"
    return ENGINE


@pytest.fixture(scope="session")
def cache_hog() -> Path:
    """A model whose KV cache fills a card: 512 MiB for 32 768 tokens."""
    path = lasting_folder() / "cache-hog.gguf"
    if not path.exists():
        unfinished = path.with_suffix(f".{os.getpid()}")
        write_tiny_gguf(unfinished, shape=WIDE_CACHE)
        unfinished.replace(path)
    return path


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallCard:
    """What the daemons and commands of a test see as the only GPU."""
    folder = tmp_path / "card"
    folder.mkdir()
    card = SmallCard(folder)
    card.limit(CARD_MIB)
    for name, value in card.environment().items():
        monkeypatch.setenv(name, value)
    return card


@pytest.fixture
def gpu_config(config: Config, engine: Path, cache_hog: Path, card: SmallCard, tmp_path: Path) -> Config:
    manifests = Manifests(config.models_dir)
    manifests.put(Manifest(name="hog:latest", weights=cache_hog))
    second = tmp_path / "second.gguf"
    shutil.copy(cache_hog, second)
    manifests.put(Manifest(name="second:latest", weights=second))
    return config.replace(engine_path=str(engine), parallel=1)


@pytest.fixture
def daemon(start_daemon: StartDaemon, gpu_config: Config) -> RunningDaemon:
    return start_daemon(**settings_of(gpu_config))


def settings_of(config: Config) -> dict[str, object]:
    return {"engine_path": config.engine_path, "parallel": config.parallel}


@pytest.fixture
def http(daemon: RunningDaemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=daemon.url, timeout=600, trust_env=False) as http:
        yield http
