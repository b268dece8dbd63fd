"""Conversations of every day through chat templates of every kind, in four dialects, with the real engine.

`bin/test templates` runs the whole matrix and prints what was whole with the normaliser off and on. A sample of it is
part of the quick tests.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from oprel.core.completion import CompletionRequest
from oprel.core.models.manifests import Manifest
from oprel.runtime.conversation.rules import ConversationRules
from oprel.runtime.engine import EngineRefused
from tests.fixtures.chat_templates import TEMPLATES
from tests.fixtures.conversations import CONVERSATIONS, Conversation, U
from tests.fixtures.daemons import daemon_with
from tests.fixtures.template_matrix import DIALECTS, Outcome, body_of, models, outcomes

WHOLE = 0.98  # of the cells; the others are refused with advice
SAMPLE = ("gemma3", "gpt-oss", "nemo", "qwen3.5")
ROUTES = {
    "native": "/api/chat",
    "openai": "/v1/chat/completions",
    "responses": "/v1/responses",
    "anthropic": "/v1/messages",
}
STUBBORN = (
    "{% for m in messages %}{% if 'secret' in m.content %}{{ raise_exception('secrets are not allowed') }}{% endif %}"
    "<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
)


def said(outcome: Outcome) -> str:
    return f"{outcome.template}, {outcome.conversation}, {outcome.dialect}: {outcome.error or outcome.lost}"


async def test_a_sample_of_the_matrix_is_whole(tmp_path: Path, tiny: Path) -> None:
    chosen = [CONVERSATIONS[at] for at in (2, 4, 8, 11, 12, 14)]
    async with models(tmp_path / "home", tiny, {name: TEMPLATES[name] for name in SAMPLE}) as state:
        results = [result for name in SAMPLE for result in await outcomes(state, name, chosen)]
    assert [said(result) for result in results if not result.is_whole] == []


@pytest.mark.templates
@pytest.mark.timeout(900)
@pytest.mark.parametrize("normalises", [False, True], ids=["as they are sent", "normalised"])
async def test_the_whole_matrix(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, normalises: bool) -> None:
    if not normalises:
        monkeypatch.setattr(ConversationRules, "fit", _unchanged)
        monkeypatch.setattr(ConversationRules, "plain", _refused)
    async with models(tmp_path / "home", tiny, TEMPLATES) as state:
        results = [result for name in TEMPLATES for result in await outcomes(state, name)]
    whole = sum(result.is_whole for result in results)
    _print(normalises, results, whole)
    assert len(TEMPLATES) >= 40 and len(results) == len(TEMPLATES) * 18 * len(DIALECTS)
    if normalises:
        assert whole >= WHOLE * len(results)
        assert [said(result) for result in results if not (result.is_whole or result.is_advised)] == []


async def _unchanged(self: ConversationRules, request: CompletionRequest) -> CompletionRequest:
    return request


async def _refused(self: ConversationRules, request: CompletionRequest, refusal: EngineRefused) -> CompletionRequest:
    raise refusal


def _print(normalises: bool, results: Sequence[Outcome], whole: int) -> None:
    refused = sum(result.error is not None for result in results)
    how = "normalised" if normalises else "as they are sent"
    sys.stdout.write(f"\n{how}: {whole} of {len(results)} whole, {refused} refused\n")
    for result in results if normalises else ():
        if not result.is_whole:
            sys.stdout.write(f"  {said(result)}\n")


@pytest.fixture(scope="module")
def http(tiny: Path) -> Iterator[httpx.Client]:
    with daemon_with(Manifest(name="stubborn", weights=tiny, template=STUBBORN)) as http:
        yield http


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_a_template_refuses_in_every_form_is_refused_with_advice(
    http: httpx.Client, dialect: str, stream: bool
) -> None:
    body: dict[str, Any] = {**body_of(dialect, Conversation("", (U("a secret"),))), "model": "stubborn"}
    response = http.post(ROUTES[dialect], json={**body, "stream": stream})
    assert response.status_code == 400
    assert "secrets are not allowed" in response.text and "another template" in response.text
