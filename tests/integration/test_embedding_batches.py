"""Requests for vectors that reach the daemon together: one call of the real engine serves several."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from oprel.core.completion import Embeddings
from oprel.core.config import Config
from oprel.core.home import prepare_home
from oprel.core.models.manifests import Manifest, Manifests
from oprel.runtime.backends.openai import http as openai_http
from oprel.runtime.binaries.engine_binaries import EngineBinaries, find_binaries
from oprel.runtime.http import EngineHttp
from oprel.server.inference import embeddings
from oprel.server.inference.embeddings import EmbedJob
from oprel.server.models.library import Library
from oprel.server.pool.manager import ModelManager
from tests.conftest import DEADLINE, RunningDaemon
from tests.fixtures.gguf_factory import write_tiny_gguf

CLIENTS = 16
ALIKE = 1e-3  # the last bits of what an engine computes depend on what it computes with it
TEXTS = [f"the sun and {number} moons" + " and stone" * (number % 7) for number in range(24)]
LONG = " the sun" * 3000


Embed = Callable[..., httpx.Response]


@pytest.fixture
def embed(shared_daemon: RunningDaemon) -> Iterator[Embed]:
    with httpx.Client(base_url=shared_daemon.url, timeout=DEADLINE, trust_env=False) as http:
        yield lambda *inputs, **fields: http.post("/api/embed", json={"model": "tiny", "input": inputs, **fields})


def test_vectors_and_counts_are_those_of_each_text_alone(embed: Embed) -> None:
    alone = [embed(text).json() for text in TEXTS]
    with ThreadPoolExecutor(CLIENTS) as clients:
        together = [answer.json() for answer in clients.map(embed, TEXTS)]
    in_one_call = embed(*TEXTS).json()
    for one, other, vector in zip(alone, together, in_one_call["embeddings"], strict=True):
        assert other["prompt_eval_count"] == one["prompt_eval_count"]
        assert other["embeddings"][0] == pytest.approx(one["embeddings"][0], abs=ALIKE)
        assert vector == pytest.approx(one["embeddings"][0], abs=ALIKE)
    assert in_one_call["prompt_eval_count"] == sum(one["prompt_eval_count"] for one in alone)


def test_an_input_that_is_refused_fails_no_other_request(embed: Embed) -> None:
    texts = [LONG if number % 4 == 0 else text for number, text in enumerate(TEXTS[:CLIENTS])]
    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(lambda text: embed(text, truncate=False), texts))
    assert [answer.status_code for answer in answers] == [400 if text is LONG else 200 for text in texts]


def test_the_engine_gets_fewer_calls_than_there_are_requests(
    config: Config, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    asked = openai_http.embed

    async def counted(http: EngineHttp, inputs: Sequence[str | Sequence[int]], *, normalised: bool) -> Embeddings:
        sizes.append(len(inputs))
        return await asked(http, inputs, normalised=normalised)

    async def scenario() -> list[int]:
        manager = ModelManager(config, EngineBinaries(find_binaries(config)), config.run_dir)
        try:
            model = await Library(config).find("tiny", may_use_paths=False)
            alone = [await embeddings.embed(manager, EmbedJob(model, (text,))) for text in TEXTS[:2]]
            sizes.clear()
            jobs = [EmbedJob(model, (text, (1, 2, 3))) for text in TEXTS]
            together = await asyncio.gather(*(embeddings.embed(manager, job) for job in jobs))
            assert [one.prompt_tokens for one, _ in together[:2]] == [one.prompt_tokens + 3 for one, _ in alone]
            return [one.prompt_tokens for one, _ in together]
        finally:
            await manager.close()

    monkeypatch.setattr(openai_http, "embed", counted)
    Manifests(config.models_dir).put(Manifest(name="tiny:latest", weights=write_tiny_gguf(home / "tiny.gguf")))
    prepare_home(config)
    counts = asyncio.run(scenario())
    assert sum(sizes) == 2 * len(counts) and len(sizes) < len(counts)
