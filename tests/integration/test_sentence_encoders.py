"""Folders of sentence-transformers, converted and served by a real engine."""

import math
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from oprel.core.models.manifests import Manifest
from tests.fixtures.daemons import daemon_with
from tests.fixtures.gguf_factory import write_tiny_gguf
from tests.fixtures.hf_bert import write_tiny_bert

PROMPTS = {"query": "query: ", "passage": "passage: "}
TEXT = "The river, the stone."
MISSING = "X-Oprel-Missing-Prompt"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    write_tiny_bert(folder / "mean")
    write_tiny_bert(folder / "half", dtype="F16")
    write_tiny_bert(folder / "brain", dtype="BF16")
    write_tiny_bert(folder / "first", pooling="cls", prompts=PROMPTS)
    write_tiny_bert(folder / "cased", lowercase=False, steps=("Transformer", "Pooling"))
    write_tiny_bert(folder / "default", prompts=PROMPTS, default_prompt="passage")
    write_tiny_bert(folder / "dense", steps=("Transformer", "Pooling", "Dense"))
    write_tiny_gguf(folder / "nomic.gguf", pooling=1)
    return folder


@pytest.fixture(scope="module")
def http(folders: Path) -> Iterator[httpx.Client]:
    models = [Manifest(name=path.name, weights=path) for path in sorted(folders.iterdir()) if path.is_dir()]
    with daemon_with(*models) as http:
        yield http


def embed(http: httpx.Client, model: str, *texts: str, **fields: object) -> httpx.Response:
    return http.post("/api/embed", json={"model": model, "input": [*texts], **fields})


def vector(http: httpx.Client, model: str, text: str = TEXT, **fields: object) -> list[float]:
    (only,) = embed(http, model, text, **fields).raise_for_status().json()["embeddings"]
    return [float(component) for component in only]


def similarity(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("model", ["half", "brain"])
def test_each_type_of_weights_gives_the_same_vectors(http: httpx.Client, model: str) -> None:
    assert similarity(vector(http, model), vector(http, "mean")) > 0.999


def test_pooling_is_the_models_own(http: httpx.Client) -> None:
    assert similarity(vector(http, "first"), vector(http, "mean")) < 0.998


def test_case_matters_to_a_cased_model_only(http: httpx.Client) -> None:
    assert vector(http, "mean", "RIVER stone") == vector(http, "mean", "river stone")
    assert vector(http, "cased", "RIVER stone") != vector(http, "cased", "river stone")


def test_composed_characters_are_as_good_as_their_parts(http: httpx.Client) -> None:
    assert vector(http, "mean", "한 é") == vector(http, "mean", "\u1112\u1161\u11ab e\u0301")
    assert similarity(vector(http, "mean", "한"), vector(http, "mean", "[UNK]")) < 0.998


def test_a_long_text_keeps_its_end_mark(http: httpx.Client) -> None:
    fits = " ".join(["river"] * 30)
    assert vector(http, "first", f"{fits} stone bird") == pytest.approx(vector(http, "first", fits), abs=1e-5)
    refused = embed(http, "first", f"{fits} stone", truncate=False)
    assert refused.status_code == 400 and refused.json()["code"] == "context_length_exceeded"


def test_a_smaller_batch_does_not_shorten_texts(http: httpx.Client) -> None:
    text = " ".join(["bird"] * 30)
    assert vector(http, "mean", text, options={"num_batch": 8}, truncate=False) == vector(http, "mean", text)


def test_vectors_have_length_1_unless_their_own_is_wanted(http: httpx.Client) -> None:
    assert math.hypot(*vector(http, "cased")) == pytest.approx(1, abs=1e-3)
    own = vector(http, "cased", normalize=False)
    assert abs(math.hypot(*own) - 1) > 0.1
    assert vector(http, "cased", normalize=False, dimensions=4) == own[:4]
    assert math.hypot(*vector(http, "cased", dimensions=4)) == pytest.approx(1, abs=1e-3)
    assert "normalize" in http.post("/api/show", json={"model": "cased"}).json()["notes"][0]


@pytest.mark.parametrize("path", ["/api/embed", "/v1/embeddings"])
def test_a_missing_prompt_is_named(http: httpx.Client, path: str) -> None:
    body = {"model": "first", "input": TEXT}
    assert http.post(path, json=body).headers[MISSING] == '{"query": "query: ", "passage": "passage: "}'
    for good in ({"input": f"query: {TEXT}"}, {"input_type": "query"}, {"model": "mean"}):
        assert MISSING not in http.post(path, json=body | good).raise_for_status().headers


def test_a_prompt_is_put_in_front_where_its_purpose_is_given(http: httpx.Client) -> None:
    expected = vector(http, "first", f"passage: {TEXT}")
    assert vector(http, "first", input_type="search_document") == expected
    assert vector(http, "first", f"passage: {TEXT}", input_type="passage") == expected
    refused = embed(http, "first", TEXT, input_type="clustering")
    assert (refused.status_code, refused.json()["resolution_steps"]) == (400, ["It has query, passage."])
    assert embed(http, "mean", TEXT, input_type="query").headers["X-Oprel-Ignored"] == "input_type"


def test_a_default_prompt_is_put_in_front_of_every_text(http: httpx.Client) -> None:
    answer = embed(http, "default", TEXT, f"passage: {TEXT}", f"query: {TEXT}").raise_for_status()
    bare, passage, query = answer.json()["embeddings"]
    assert bare == passage != query and MISSING not in answer.headers


def test_what_is_more_than_bert_is_refused_with_the_reason(http: httpx.Client) -> None:
    refused = embed(http, "dense", TEXT)
    assert refused.status_code == 500
    assert "a step 'Dense', which oprel cannot convert" in " ".join(refused.json()["resolution_steps"])


def test_a_changed_folder_is_converted_again(http: httpx.Client, folders: Path, tmp_path: Path) -> None:
    folder = write_tiny_bert(tmp_path / "model")
    before = vector(http, str(folder))
    write_tiny_bert(folder, pooling="cls")
    assert similarity(vector(http, str(folder)), before) < 0.998


def test_an_imported_folder_is_served_and_removed(http: httpx.Client, folders: Path) -> None:
    body = {"model": "mine", "path": str(folders / "first"), "how": "copy", "stream": False}
    http.post("/api/models/import", json=body).raise_for_status()
    assert vector(http, "mine") == vector(http, "first")
    http.request("DELETE", "/api/delete", json={"model": "mine"}).raise_for_status()
    assert embed(http, "mine", TEXT).status_code == 404
