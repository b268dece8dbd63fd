"""An engine that runs out of memory is started with less, until it starts; and the next daemon begins there."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from oprel.core.config import Config
from oprel.core.exceptions import BackendCrashedError, BackendStartError
from oprel.core.models.manifests import Manifest, Manifests
from tests.conftest import RunningDaemon
from tests.fixtures.fake_engine import install
from tests.fixtures.gguf_factory import write_tiny_gguf

Start = Callable[..., RunningDaemon]

# A message with "grow" becomes a prompt of 30 GB, half a megabyte at a time.
GROWING = """\
{% set ns = namespace(text='################################################################') %}\
{% for m in messages %}{% if 'grow' in m['content'] %}\
{% for i in range(13) %}{% set ns.text = ns.text ~ ns.text %}{% endfor %}\
{% for i in range(60000) %}{{ ns.text }}{% endfor %}\
{% endif %}{{ m['content'] }}{% endfor %}"""


@pytest.fixture
def engine(config: Config, tiny: Path, home: Path) -> Callable[[int], str]:
    Manifests(config.models_dir).put(Manifest(name="tiny:latest", weights=tiny))
    return lambda limit: str(install(home / "engine", memory_limit=limit))


def starts(daemon: RunningDaemon) -> int:
    return daemon.log.count("-> starting")


def test_it_gets_less_until_it_starts_and_says_so(start_daemon: Start, engine: Callable[[int], str]) -> None:
    daemon = start_daemon(engine_path=engine(2048 * 2 * 2 + 512))  # units of the fake's: two slots of 2048 tokens
    with daemon.client as client:
        assert client.generate("tiny", "hello").response
        [loaded] = client.engines().models
    assert loaded.adjustments == ["fewer saved conversations", "2 requests at a time"]
    assert loaded.context_length == 2048  # the whole context: slots are given up before it
    assert "ran out of memory: from now on" in daemon.log


def test_what_helped_is_remembered_by_the_next_daemon(start_daemon: Start, engine: Callable[[int], str]) -> None:
    path = engine(2048 * 2 * 2 + 512)
    first = start_daemon(engine_path=path, restore="off")
    with first.client as client:
        client.generate("tiny", "hello")
    assert starts(first) > 1
    first.end()
    second = start_daemon(engine_path=path, restore="off")
    with second.client as client:
        client.generate("tiny", "hello")
    assert starts(second) == 1


def test_when_nothing_is_left_to_give_up_the_reason_is_told(start_daemon: Start, engine: Callable[[int], str]) -> None:
    daemon = start_daemon(engine_path=engine(1))
    with daemon.client as client, pytest.raises(BackendStartError, match="failed to allocate"):
        client.generate("tiny", "hello", options={"num_ctx": 256})


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the memory of other processes may not be told")
def test_a_request_that_makes_its_engine_grow_is_told_so_and_harms_no_other(start_daemon: Start, home: Path) -> None:
    """The real engine renders the template."""
    model = str(write_tiny_gguf(home / "growing.gguf", template=GROWING))
    daemon = start_daemon()
    with daemon.client as client:
        with pytest.raises(BackendCrashedError, match=r"it took .* of memory, and .* were reserved for it"):
            client.chat(model, [{"role": "user", "content": "grow"}])
        assert starts(daemon) == 1
        assert client.chat(model, [{"role": "user", "content": "hello"}], options={"num_predict": 1}).done
        [loaded] = client.engines().models
    assert starts(daemon) == 2 and loaded.adjustments == []
