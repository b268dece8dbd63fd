"""The prompts of embedding models: by family, by purpose, and where one is missing."""

import pytest

from oprel.formats.templates.prompts import Prompts, family_prompts

E5 = Prompts({"query": "query: ", "passage": "passage: "})


@pytest.mark.parametrize(
    ("architecture", "name", "query", "document"),
    [
        ("nomic-bert", "anything", "search_query: ", "search_document: "),
        ("nomic-bert-moe", "", "search_query: ", "search_document: "),
        ("gemma-embedding", "embeddinggemma-300m", "task: search result | query: ", "title: none | text: "),
        ("bert", "hf.co/intfloat/e5-small-v2:latest", "query: ", "passage: "),
        ("bert", "Multilingual E5 Large", "query: ", "passage: "),
        ("bert", "bge-small-en-v1.5", "Represent this sentence for searching relevant passages: ", ""),
        ("bert", "BAAI_bge-base-en", "Represent this sentence for searching relevant passages: ", ""),
        ("bert", "mxbai-embed-large-v1", "Represent this sentence for searching relevant passages: ", ""),
        ("bert", "snowflake-arctic-embed-m", "Represent this sentence for searching relevant passages: ", ""),
        ("bert", "snowflake-arctic-embed-m-v2.0", "query: ", ""),
    ],
)
def test_families(architecture: str, name: str, query: str, document: str) -> None:
    prompts = family_prompts(architecture, [name])
    assert (prompts.named("search_query"), prompts.named("passage")) == (query, document)


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "gte-base", "bge-m3", "some5-large", "size5-small", ""])
def test_others_have_none(name: str) -> None:
    assert not family_prompts("bert", [name])


@pytest.mark.parametrize(
    ("texts", "missing"),
    [
        (["query: a", "passage: b"], False),
        (["query:a"], False),
        (["a"], True),
        (["query: a", "b"], True),
        ([" "], False),
    ],
)
def test_a_missing_prompt(texts: list[str], missing: bool) -> None:
    assert E5.missing_in(texts) is missing
    assert not Prompts().missing_in(texts)
    assert not Prompts(E5.texts, default="query").missing_in(texts)


def test_a_purpose_that_a_model_lacks_has_no_prompt() -> None:
    assert E5.named("clustering") is None
    assert (Prompts(E5.texts, "query").automatic, E5.automatic) == ("query: ", "")
