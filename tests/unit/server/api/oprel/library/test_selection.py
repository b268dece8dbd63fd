"""Which rows of the library a request selects."""

from collections.abc import Mapping

import pytest

from oprel.core.exceptions import ValidationError
from oprel.server.api.oprel.library.selection import selection
from oprel.wire.library import LibraryModel, ModelStatus


def row(name: str, status: ModelStatus = "installed", size: int = 1, **fields: object) -> LibraryModel:
    return LibraryModel(id=name, name=name, provider="oprel", source="oprel", status=status, size=size, **fields)  # type: ignore[arg-type]


ROWS = [
    row("tiny", size=3, capabilities=["completion", "tools"], served_by="llama.cpp", last_used="2026-01-02"),
    row("Big", "loaded", size=9, capabilities=["completion"], served_by="vllm", description="writes poems"),
    row("broken", "damaged", size=0),
    row("coming", "downloading", size=5),
    row("gemma", "available", size=7, capabilities=["completion", "vision"], aliases=["gem"]),
]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, "tiny Big broken coming"),
        ({"status": "available"}, "gemma"),
        ({"status": "local"}, "tiny Big"),
        ({"status": "error,downloading"}, "broken coming"),
        ({"capability": "chat"}, "tiny Big"),
        ({"capability": "chat,function_calling"}, "tiny"),
        ({"capability": "image", "status": "available"}, "gemma"),
        ({"served_by": "llama-cpp"}, "tiny"),
        ({"source": "ollama"}, ""),
        ({"provider": "ollama,oprel", "status": "loaded"}, "Big"),
        ({"q": "POEM big"}, "Big"),
        ({"q": "gem", "status": "available"}, "gemma"),
        ({"sort": "name"}, "Big broken coming tiny"),
        ({"sort": "-size"}, "Big coming tiny broken"),
        ({"sort": "last_used"}, "tiny Big broken coming"),
        ({"sort": "-last_used"}, "tiny Big broken coming"),
        ({"sort": "name", "page": "2", "per_page": "3"}, "tiny"),
        ({"page": "9"}, ""),
        ({"unknown": "x"}, "tiny Big broken coming"),
    ],
)
def test_rows_are_selected(query: Mapping[str, str], names: str) -> None:
    wanted = selection(query)
    assert [model.name for model in wanted.page_of([model for model in ROWS if wanted.wants(model)])] == names.split()


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ({"status": "lost"}, "there is no status 'lost'"),
        ({"sort": "beauty"}, "there is no order 'beauty'"),
        ({"page": "0"}, "page must be a number from 1"),
        ({"page": "²"}, "page must be a number"),
        ({"per_page": "1001"}, "per_page must be a number from 1 to 1000"),
    ],
)
def test_what_makes_no_sense_is_refused(query: Mapping[str, str], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        selection(query)
