"""A model on a card: found, planned, answered with, and evicted; what is said of it is what the engine reports."""

import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from oprel.core.config import Config
from oprel.preview.plan import recommend
from oprel.runtime.backends.engines.llama_log import MIB, gpu_use_of
from tests.conftest import RunningDaemon
from tests.fixtures.small_cards import NAME, SmallCard
from tests.gpu.conftest import StartDaemon, settings_of

pytestmark = pytest.mark.gpu
QUESTIONS = ["How do I list my models?", "How do I stop a model?", "Where are the logs?", "How do I pull a model?"]
NEAR = 0.05


def oprel(config: Config, *arguments: str) -> str:
    """What a command prints, on both streams."""
    environment = os.environ | {"OPREL_HOME": config.home, "OPREL_ENGINE_PATH": config.engine_path}
    command = [sys.executable, "-P", "-m", "oprel", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    return done.stdout + done.stderr


def loaded(http: httpx.Client, model: str = "hog") -> dict[str, object]:
    models = http.get("/models").json()["models"]
    return next(each for each in models if each["name"].startswith(model))


def load(http: httpx.Client, model: str = "hog", /, **options: object) -> httpx.Response:
    return http.post("/api/generate", json={"model": model, "options": options})


def answer(http: httpx.Client, prompt: str, model: str = "guide", **options: object) -> str:
    options = {"temperature": 0, "num_predict": 40, **options}
    body = {"model": model, "prompt": prompt, "stream": False, "options": options}
    reply = http.post("/api/generate", json=body)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["response"])


def reported(http: httpx.Client, model: str = "hog") -> int:
    """Bytes on the card by the engine's own log."""
    use = gpu_use_of(http.get("/logs", params={"model": model, "follow": False}).text.splitlines())
    assert use
    return use.total


def test_the_card_is_hardware_and_planned_with(gpu_config: Config, card: SmallCard) -> None:
    assert NAME in oprel(gpu_config, "hardware") and NAME in oprel(gpu_config, "doctor")
    assert "run on the CPU" not in oprel(gpu_config, "hardware") + oprel(gpu_config, "doctor")
    plan = recommend("hog", config=gpu_config)
    assert plan.fits and plan.where == "GPU"


def test_the_plan_is_what_the_engine_takes(http: httpx.Client) -> None:
    assert load(http, num_ctx=16_384).status_code == 200
    model = loaded(http)
    [planned] = model["gpu_bytes"].values()  # type: ignore[attr-defined]
    [(name, bytes)] = model["device_bytes"].items()  # type: ignore[attr-defined]
    assert name == "Vulkan0" and planned == pytest.approx(bytes, rel=NEAR)
    assert model["gpu_share"] == 1.0 and model["adjustments"] == []


@pytest.mark.parametrize("layers", [None, -1, 99, 20])
def test_what_is_on_the_card_is_told(daemon: RunningDaemon, http: httpx.Client, layers: int | None) -> None:
    options: dict[str, object] = {} if layers is None else {"num_gpu": layers}
    assert load(http, **options, num_ctx=16_384).status_code == 200
    model = loaded(http)
    on_card = sum(model["device_bytes"].values())  # type: ignore[attr-defined]
    assert sum(model["gpu_bytes"].values()) == pytest.approx(on_card, rel=NEAR)  # type: ignore[attr-defined]
    [running] = http.get("/api/ps").json()["models"]
    assert running["size_vram"] == on_card > 0
    assert ("100% GPU" in oprel(daemon.config, "ps")) == (layers != 20)


def test_answers_are_the_same_wherever_they_are_computed(http: httpx.Client) -> None:
    answers = []
    for layers in (0, 5, 99):  # an engine with more layers there would serve requests for fewer
        answers.append([answer(http, question, num_gpu=layers) for question in QUESTIONS])
        assert bool(loaded(http, "guide")["device_bytes"]) == bool(layers)
    assert answers[0] == answers[1] == answers[2] and "oprel list" in answers[0][0]


def test_four_at_a_time_are_answered_as_one_by_one(start_daemon: StartDaemon, gpu_config: Config) -> None:
    daemon = start_daemon(**settings_of(gpu_config) | {"parallel": 4})
    with httpx.Client(base_url=daemon.url, timeout=600, trust_env=False) as http, ThreadPoolExecutor(4) as pool:
        alone = [answer(http, question) for question in QUESTIONS]
        assert list(pool.map(lambda question: answer(http, question), QUESTIONS)) == alone


def test_vectors_are_those_of_the_cpu(http: httpx.Client) -> None:
    def vectors(**options: object) -> list[list[float]]:
        reply = http.post("/api/embed", json={"model": "guide", "input": QUESTIONS, "options": options})
        return list(reply.json()["embeddings"])

    pairs = zip(vectors(), vectors(num_gpu=0), strict=True)
    assert min(sum(x * y for x, y in zip(one, other, strict=True)) for one, other in pairs) > 0.999


def test_ten_answers_outlive_their_engine(http: httpx.Client) -> None:
    reference = answer(http, QUESTIONS[0])
    for number in range(10):
        pieces, killed = list[str](), False
        body = {"model": "guide", "prompt": QUESTIONS[0], "options": {"temperature": 0, "num_predict": 40}}
        with http.stream("POST", "/api/generate", json=body) as reply:
            for line in reply.iter_lines():
                pieces.append(json.loads(line)["response"])
                if not killed and len(pieces) == 2 + number:
                    os.kill(int(str(loaded(http, "guide")["pid"])), signal.SIGKILL)
                    killed = True
        assert "".join(pieces) == reference


def test_of_two_models_that_do_not_fit_together_one_makes_way(http: httpx.Client, card: SmallCard) -> None:
    for model in ("hog", "second"):
        assert load(http, model, num_ctx=40_960, num_gpu=99).status_code == 200
        assert [each["name"] for each in http.get("/models").json()["models"]] == [f"{model}:latest"]
    assert 640 * MIB < reported(http, "second") < card.held * MIB + MIB


def test_a_context_that_does_not_fit_is_refused_with_figures(http: httpx.Client) -> None:
    refused = load(http, num_ctx=131_072, num_gpu=99)
    assert refused.status_code >= 400
    message = refused.json()["error"]
    assert re.search(r"33 of its 33 layers need [\d.]+ GB of the GPU's memory, and [\d.]+ GB may be taken", message)
    assert "default_max_memory_mb" not in refused.text
