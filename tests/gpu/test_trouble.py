"""A card that is full, lost or gone: the answer goes on, and what it cost is said."""

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from bin.vulkan_engine import other_engine
from oprel.core.config import Config
from tests.conftest import RunningDaemon
from tests.fixtures.small_cards import SmallCard
from tests.gpu.conftest import CARD_MIB, StartDaemon, settings_of
from tests.gpu.test_card import QUESTIONS, answer, load, loaded

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def silent_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver does not tell what others use of the card."""
    monkeypatch.setenv("SMALL_CARD_BUDGET", "0")


def commands(daemon: RunningDaemon) -> list[tuple[str, ...]]:
    """Those of the starts that failed, in order."""
    reports = sorted((daemon.config.home_dir / "crashes").glob("*.json"))
    return [tuple(json.loads(report.read_text())["command"]) for report in reports]


def streamed(http: httpx.Client, when: int, act: Callable[[], None]) -> tuple[str, dict[str, object]]:
    """An answer, and its last line, with `act` after so many pieces."""
    body = {"model": "guide", "prompt": QUESTIONS[0], "options": {"temperature": 0, "num_predict": 40}}
    lines = []
    with http.stream("POST", "/api/generate", json=body) as reply:
        for line in reply.iter_lines():
            lines.append(json.loads(line))
            if len(lines) == when:
                act()
    return "".join(each.get("response", "") for each in lines), lines[-1]


@pytest.mark.parametrize("left", [2, 148, 400])
def test_a_full_card_costs_layers_and_not_the_answer(
    daemon: RunningDaemon, http: httpx.Client, card: SmallCard, left: int
) -> None:
    card.take(CARD_MIB - left)
    assert load(http, num_ctx=32_768).status_code == 200
    model, failed = loaded(http), commands(daemon)
    assert failed and all(before != after for before, after in zip(failed, failed[1:], strict=False))
    gone, said = left < 200, set(model["adjustments"])  # type: ignore[call-overload]
    assert said and bool({"no layers on the GPU", "fewer weights on the GPU"} & said) == gone
    assert card.held <= left


def test_another_program_is_not_remembered(http: httpx.Client, card: SmallCard) -> None:
    card.take(CARD_MIB - 100)
    load(http, num_ctx=32_768)
    assert loaded(http)["adjustments"]
    card.take(0)
    http.post("/api/generate", json={"model": "hog", "keep_alive": 0})
    load(http, num_ctx=32_768)
    assert loaded(http)["adjustments"] == [] and loaded(http)["gpu_share"] == 1.0


def test_memory_that_runs_out_at_work_is_given_up(
    start_daemon: StartDaemon, gpu_config: Config, card: SmallCard
) -> None:
    daemon = start_daemon(**settings_of(gpu_config) | {"kv_cache_type": "f16"})
    with httpx.Client(base_url=daemon.url, timeout=600, trust_env=False) as http:
        assert load(http, num_ctx=16_384).status_code == 200
        card.limit(card.held - 1)  # a long prompt needs some more
        answer(http, "the cat sings over the sea " * 80, "hog", num_ctx=16_384, num_predict=1)
        model = loaded(http)
        assert model["adjustments"] and "out_of_memory" in str(model["last_exit"])


def test_a_lost_card_breaks_no_answer(http: httpx.Client, card: SmallCard) -> None:
    reference = answer(http, QUESTIONS[0])
    found = threading.Timer(0.5, card.find)

    def lose() -> None:
        card.lose()
        found.start()

    text, last = streamed(http, 8, lose)
    found.join()
    assert (text, last.get("error")) == (reference, None)
    assert answer(http, QUESTIONS[0]) == reference


def test_a_card_that_stays_lost_is_left(http: httpx.Client, card: SmallCard) -> None:
    reference = answer(http, QUESTIONS[0])
    text, last = streamed(http, 8, card.lose)
    assert (text, last.get("error")) == (reference, None)
    model = loaded(http, "guide")
    assert "no layers on the GPU" in model["adjustments"] and not model["device_bytes"]  # type: ignore[operator]
    card.find()


def test_a_card_that_is_gone_at_a_restart_is_missed(
    start_daemon: StartDaemon, gpu_config: Config, tmp_path: Path
) -> None:
    gone, engine = tmp_path / "gone", tmp_path / "llama-server"
    hide = f"[ -e {gone} ] && export GGML_VK_VISIBLE_DEVICES="
    engine.write_text(f'#!/bin/sh\n{hide}\nexec {gpu_config.engine_path} "$@"\n')
    engine.chmod(0o755)
    daemon = start_daemon(**settings_of(gpu_config) | {"engine_path": str(engine)})
    with httpx.Client(base_url=daemon.url, timeout=600, trust_env=False) as http:
        reference = answer(http, QUESTIONS[0])

        def take_out() -> None:
            gone.touch()
            os.kill(int(str(loaded(http, "guide")["pid"])), signal.SIGKILL)

        text, _ = streamed(http, 8, take_out)
        model = loaded(http, "guide")
        assert text == reference and not model["device_bytes"] and model["gpu_bytes"] == {}
        assert "the engine found no GPU" in model["adjustments"]  # type: ignore[operator]


def test_a_build_for_other_cpus_is_set_aside_and_said(
    start_daemon: StartDaemon, card: SmallCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = other_engine()
    assert other, "bin/test gpu fetches it"
    other.chmod(0o755)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(other.parent))
    daemon = start_daemon(engine_path=str(other))
    with httpx.Client(base_url=daemon.url, timeout=600, trust_env=False) as http:
        assert "oprel list" in answer(http, QUESTIONS[0])
        aside = http.get("/health").json()["engines_set_aside"]
    if not aside:
        pytest.skip("this CPU has the instructions of that build")
    assert aside[0]["engine"] == str(other) and "SIGILL" in aside[0]["reason"]
