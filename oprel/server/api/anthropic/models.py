"""Anthropic's list of models, for requests with `anthropic-version`: OpenAI's has the same paths."""

from collections.abc import Sequence
from datetime import UTC

from fastapi import Request, Response

from oprel.core.exceptions import ValidationError
from oprel.server.access.caller import AccessLevel
from oprel.server.api.anthropic.errors import encode_error
from oprel.server.api.anthropic.types import AnthropicModel, AnthropicModels
from oprel.server.api.common import decode
from oprel.server.api.common.encode import json_response
from oprel.server.api.common.errors import dialect_router
from oprel.server.api.visible_models import survey
from oprel.server.models.installed_model import InstalledModel
from oprel.server.models.summaries import ModelSummary

router = dialect_router(encode_error, prefix="/v1/models", header="anthropic-version", access=AccessLevel.INFERENCE)

READ = ["GET", "HEAD"]
USUAL_LIMIT, LARGEST_LIMIT = 20, 1000  # Anthropic's


@router.api_route("", methods=READ)
async def list_models(request: Request) -> Response:
    query = request.query_params
    limit = page_size(query.get("limit", ""))
    after, before = query.get("after_id", ""), query.get("before_id", "")
    return await survey(
        request, lambda models: json_response(page(models.usable, limit, after=after, before=before), nulls=True)
    )


@router.api_route("/{name:text}", methods=READ)
async def show_model(request: Request, name: str) -> Response:
    model = await decode.model(request, name)
    return json_response(_model(model).model_copy(update={"id": name}), nulls=True)


def page_size(text: str) -> int:
    """`limit`. Raises ValidationError.

    >>> page_size(""), page_size("5")
    (20, 5)
    """
    if not text:
        return USUAL_LIMIT
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:9]) <= LARGEST_LIMIT:
        raise ValidationError(f"limit must be between 1 and {LARGEST_LIMIT}")
    return int(text)


def page(models: Sequence[InstalledModel | ModelSummary], limit: int, *, after: str, before: str) -> AnthropicModels:
    """The models next to a cursor, or the first ones. Raises ValidationError for an unknown cursor."""
    names = [model.name for model in models]
    if after and before:
        raise ValidationError("after_id and before_id cannot be given together")
    if (after or before) and (after or before) not in names:
        raise ValidationError(f"{after or before!r} is not a model of this list")
    if before:
        end = names.index(before)
        chosen, has_more = models[max(0, end - limit) : end], end > limit
    else:
        start = names.index(after) + 1 if after else 0
        chosen, has_more = models[start : start + limit], start + limit < len(models)
    return AnthropicModels(
        data=[_model(model) for model in chosen],
        has_more=has_more,
        first_id=chosen[0].name if chosen else None,
        last_id=chosen[-1].name if chosen else None,
    )


def _model(model: InstalledModel | ModelSummary) -> AnthropicModel:
    return AnthropicModel(
        id=model.name,
        display_name=model.name,
        created_at=model.changed.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        max_input_tokens=model.header_summary.context_length,
    )
