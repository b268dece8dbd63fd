"""Users read plain English: none of the wordings that once read as if translated comes back.

Each row has a pattern, an example that it finds, and how to say the same.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fixtures.documents import PAGES, ROOT


@dataclass(frozen=True)
class Wording:
    pattern: str
    example: str
    better: str


WORDINGS = (
    Wording(
        r"\bis no (program|tool|model|file|name|number|folder|setting)\b", "x is no program", "x is not executable"
    ),
    Wording(r"\bget it so\b", "Get it so: pip install x", "To install it: pip install x"),
    Wording(r"\b(is|are) none of\b", "x is none of the tools", "x is not one of the tools"),
    Wording(r"\b(models?|engines?|files?) that (is|are) here\b", "models that are here", "installed models"),
    Wording(r"\bfound by what\b", "is found by what stopped to move", "is detected by counters that stop moving"),
    Wording(r"\bstop(s|ped)? to move\b", "what stopped to move", "what stopped moving"),
    Wording(r"\b(told|tells?|telling) of\b", "it was told of", "it was reported"),
    Wording(r"\b(was|were|is) told (before|otherwise|so far)\b", "when it was told before", "when it was already sent"),
    Wording(
        r"\bwho (fits?|waits?|comes?|leaves?|asks?|wants?|names?)\b",
        "Who fits beside all that were promised memory before",
        "A request that fits",
    ),
    Wording(r"\bwhoever\b", "Whoever finds no daemon", "A client that finds no daemon"),
    Wording(r"\bnobody\b", "nobody waits for ever", "no request waits forever"),
    Wording(r"\bfor ever\b", "waits for ever", "waits forever"),
    Wording(r"\bhave so many\b", "Have so many places and no others", "Hold `count` slots"),
    Wording(r"\bso many (bytes|tokens|places|seconds|requests)\b", "so many bytes", "`count` bytes"),
    Wording(r"\bwhat is (here|there)\b", "what is here of it", "the part that was downloaded"),
    Wording(r"\b(lets?|let) [^.\n]{1,30}\bgo\b", "it lets the model go", "it unloads the model"),
    Wording(r"\b(goes|go|went) (for|on where|with its last answer)\b", "the idle one goes for it", "it is evicted"),
    Wording(r"\bis (there|here) or not\b", "an engine is there or not", "an engine is installed or not"),
    Wording(r"\bis the matter\b", "what is the matter with it", "what is wrong with it"),
    Wording(r"\bwants? (its|an|the|a) (index|token|key|login)\b", "it wants a token", "it needs a token"),
    Wording(r"\bsome \d", "it takes some 20 s", "it takes about 20 s"),
    Wording(r"\bwith what would\b", "refused, with what would", "refused, with a suggestion that would fit"),
    Wording(r"\bas it should be\b", "every file is as it should be", "every file is intact"),
)


def found(pattern: str, text: str) -> list[str]:
    """The matches in `text`, however its lines are broken."""
    return [match[0] for match in re.finditer(pattern, re.sub(r"\s+", " ", text), re.IGNORECASE)]


@pytest.mark.parametrize("wording", WORDINGS, ids=lambda wording: wording.example)
def test_each_pattern_finds_its_example_and_not_the_better_wording(wording: Wording) -> None:
    assert found(wording.pattern, wording.example)
    assert not found(wording.pattern, wording.better)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_documents_are_in_plain_english(page: Path) -> None:
    text = page.read_text()
    assert {match: wording.better for wording in WORDINGS for match in found(wording.pattern, text)} == {}
