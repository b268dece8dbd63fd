"""Pages of Anthropic's list of models."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from oprel.core.exceptions import ValidationError
from oprel.core.models.manifests import Manifest
from oprel.formats.gguf import read_gguf
from oprel.server.api.anthropic.models import page, page_size
from oprel.server.models.installed_model import InstalledModel


@pytest.fixture
def models(tiny: Path) -> list[InstalledModel]:
    first = InstalledModel(
        name="a", manifest=Manifest(name="a", weights=tiny), header=read_gguf(tiny), modified=datetime.now(UTC)
    )
    return [replace(first, name=name) for name in "abcde"]


@pytest.mark.parametrize(
    ("limit", "cursor", "names", "has_more"),
    [
        (2, {}, "ab", True),
        (5, {}, "abcde", False),
        (2, {"after": "b"}, "cd", True),
        (2, {"after": "c"}, "de", False),
        (2, {"after": "e"}, "", False),
        (2, {"before": "d"}, "bc", True),
        (2, {"before": "c"}, "ab", False),
        (2, {"before": "a"}, "", False),
    ],
)
def test_a_page_is_next_to_its_cursor(
    models: list[InstalledModel], limit: int, cursor: dict[str, str], names: str, has_more: bool
) -> None:
    made = page(models, limit, **{"after": "", "before": "", **cursor})
    assert [model.id for model in made.data] == list(names)
    assert made.has_more is has_more
    assert (made.first_id, made.last_id) == ((names[0], names[-1]) if names else (None, None))


@pytest.mark.parametrize("cursor", [{"after": "x"}, {"before": "x"}, {"after": "a", "before": "b"}])
def test_an_unknown_cursor_is_refused(models: list[InstalledModel], cursor: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        page(models, 2, **{"after": "", "before": "", **cursor})


@pytest.mark.parametrize("text", ["0", "1001", "-1", "x", "²", "9" * 5000])
def test_a_limit_is_between_1_and_1000(text: str) -> None:
    with pytest.raises(ValidationError, match="(?m)^limit must be between 1 and 1000$"):
        page_size(text)
