"""Reranking on a real engine, by a model that finds a text the more relevant, the more it is about the river."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from oprel.core.models.manifests import Manifest
from tests.fixtures.daemons import daemon_with
from tests.fixtures.gguf_parts import write_reranker

CAT, BANK, STREAM = "a cat sings", "a house near the river", "the old river , river and river"
DOCUMENTS = [CAT, BANK, STREAM]


@pytest.fixture(scope="module")
def http(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    ranker = write_reranker(tmp_path_factory.mktemp("models") / "ranker.gguf", "river")
    with daemon_with(Manifest(name="ranker", weights=ranker), Manifest(name="tiny", weights=tiny)) as http:
        yield http


def rerank(http: httpx.Client, **fields: object) -> httpx.Response:
    return http.post("/v1/rerank", json={"model": "ranker", "query": "water", "documents": DOCUMENTS} | fields)


def results(http: httpx.Client, **fields: object) -> list[dict[str, Any]]:
    found = rerank(http, **fields).raise_for_status().json()["results"]
    assert isinstance(found, list)
    return found


def complaint(response: httpx.Response) -> str:
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    return str(error if isinstance(error, str) else error["message"])


def test_show_tells_that_it_ranks(http: httpx.Client):
    assert http.post("/api/show", json={"model": "ranker"}).json()["capabilities"] == ["rerank"]


def test_the_most_relevant_comes_first_under_its_own_number(http: httpx.Client):
    found = results(http)
    assert [one["index"] for one in found] == [2, 1, 0]
    scores = [one["relevance_score"] for one in found]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 3


def test_a_score_depends_on_no_other_document(http: httpx.Client):
    together = {one["index"]: one["relevance_score"] for one in results(http)}
    alone = {at: results(http, documents=[text])[0]["relevance_score"] for at, text in enumerate(DOCUMENTS)}
    assert alone == pytest.approx(together)


def test_top_n_keeps_the_best(http: httpx.Client):
    assert results(http, top_n=1) == results(http)[:1]
    assert results(http, top_n=9) == results(http)


def test_documents_come_back_when_wanted(http: httpx.Client):
    assert [one["document"]["text"] for one in results(http, return_documents=True)] == [STREAM, BANK, CAT]
    assert "document" not in results(http)[0]


def test_documents_may_be_objects(http: httpx.Client):
    assert results(http, documents=[{"text": text} for text in DOCUMENTS]) == results(http)


def test_the_reply_names_its_model_and_counts_tokens(http: httpx.Client):
    reply = rerank(http).json()
    assert (reply["object"], reply["model"]) == ("list", "ranker")
    assert reply["usage"]["prompt_tokens"] == reply["usage"]["total_tokens"] > 0


def test_many_documents_are_ranked(http: httpx.Client):
    many = [f"{'river ' * (number % 7)}and a stone" for number in range(60)]
    assert sorted(one["index"] for one in results(http, documents=many)) == list(range(60))


@pytest.mark.parametrize(
    "fields", [{"query": ""}, {"documents": []}, {"documents": [1]}, {"documents": "x"}, {"top_n": -1}]
)
def test_a_request_that_makes_no_sense_is_refused(http: httpx.Client, fields: dict[str, object]):
    assert complaint(rerank(http, **fields))


def test_a_document_that_is_too_long_is_refused(http: httpx.Client):
    assert "longer than the context length" in complaint(rerank(http, documents=[CAT, "a stone " * 5000]))
    assert results(http)


def test_a_model_that_does_not_rank_refuses(http: httpx.Client):
    assert complaint(rerank(http, model="tiny")).startswith('"tiny:latest" does not support rerank')
    assert rerank(http, model="nonesuch").status_code == 404


def test_a_model_that_ranks_does_nothing_else(http: httpx.Client):
    generate = http.post("/api/generate", json={"model": "ranker", "prompt": "x"})
    assert complaint(generate).startswith('"ranker" does not support generate')
    embed = http.post("/api/embed", json={"model": "ranker", "input": "x"})
    assert "does not support embed" in complaint(embed)
