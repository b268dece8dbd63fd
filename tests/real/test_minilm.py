"""all-MiniLM-L6-v2 as it is published: oprel converts it, and its vectors are those of PyTorch."""

import base64
import json
import math
import struct
from pathlib import Path

import httpx
import pytest

from oprel.core.config import Config
from oprel.preview.plan import recommend
from tests.real.conftest import MINILM
from tests.real.make_reference import HERE, LONG, texts

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

CLOSE = 0.999
TEXTS = texts()
REFERENCE: list[list[float]] = json.loads((HERE / "reference.json").read_text())


def embed(http: httpx.Client, *inputs: str, **fields: object) -> list[list[float]]:
    answer = http.post("/api/embed", json={"model": "minilm", "input": [*inputs], **fields})
    vectors: list[list[float]] = answer.raise_for_status().json()["embeddings"]
    return vectors


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True)) / math.hypot(*one) / math.hypot(*other)


def test_there_are_20_texts_with_a_reference() -> None:
    assert len(TEXTS) == len(REFERENCE) == 20
    assert {len(vector) for vector in REFERENCE} == {384}


@pytest.mark.parametrize("number", range(20))
def test_a_vector_is_that_of_pytorch(http: httpx.Client, number: int) -> None:
    (vector,) = embed(http, TEXTS[number])
    assert cosine(vector, REFERENCE[number]) >= CLOSE
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-3)


def test_a_batch_gives_the_same_vectors(http: httpx.Client) -> None:
    together = embed(http, *TEXTS)
    assert min(cosine(vector, known) for vector, known in zip(together, REFERENCE, strict=True)) >= CLOSE


def test_openai_clients_get_the_same_vectors(http: httpx.Client) -> None:
    body = {"model": "minilm", "input": TEXTS[:3], "encoding_format": "base64"}
    data = http.post("/v1/embeddings", json=body).raise_for_status().json()["data"]
    vectors = [list(struct.unpack("<384f", base64.b64decode(item["embedding"]))) for item in data]
    assert min(cosine(vector, known) for vector, known in zip(vectors, REFERENCE, strict=False)) >= CLOSE


def test_fewer_dimensions_are_the_first_ones(http: httpx.Client) -> None:
    (vector,) = embed(http, TEXTS[0], dimensions=100)
    assert len(vector) == 100 and math.hypot(*vector) == pytest.approx(1, abs=1e-3)
    assert cosine(vector, REFERENCE[0][:100]) >= CLOSE


def test_a_long_text_is_refused_where_it_must_not_be_cut(http: httpx.Client) -> None:
    for path in ("/api/embed", "/v1/embeddings"):
        refused = http.post(path, json={"model": "minilm", "input": LONG, "truncate": False})
        assert refused.status_code == 400 and "context length" in refused.text


def test_similar_texts_have_similar_vectors(http: httpx.Client) -> None:
    question, answer, other = embed(http, "How old are you?", "What is your age?", "The stock market fell today.")
    assert cosine(question, answer) > 0.7 > 0.3 > cosine(question, other)


def test_the_model_is_described_as_it_is(http: httpx.Client) -> None:
    shown = http.post("/api/show", json={"model": "minilm"}).raise_for_status().json()
    info = shown["model_info"]
    assert shown["capabilities"] == ["embedding"] and shown["details"]["quantization_level"] == "F32"
    assert [info[f"bert.{name}"] for name in ("context_length", "embedding_length", "pooling_type")] == [256, 384, 1]


def test_it_is_planned_before_it_is_converted(tmp_path: Path) -> None:
    plan = recommend(str(MINILM), config=Config(home=str(tmp_path)))
    assert plan.fits and plan.context == 256
