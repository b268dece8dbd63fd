"""Anthropic's Messages API as a codec around the one completions path."""

from fastapi import APIRouter, Request, Response

from oprel.server.api.anthropic import decode as anthropic_decode
from oprel.server.api.anthropic import encode as anthropic_encode
from oprel.server.api.anthropic.types import CountTokensRequest, MessagesRequest, TokenCount
from oprel.server.api.common import decode
from oprel.server.api.common.app_state import state_of
from oprel.server.api.common.streaming import once, streamed, whole
from oprel.server.inference import completions

router = APIRouter(prefix="/v1/messages")


@router.post("")
async def messages(request: Request) -> Response:
    asked = await decode.body(request, MessagesRequest)
    model = await decode.model(request, decode.required(asked.model))
    pieces = completions.run(state_of(request).manager, anthropic_decode.job(asked, model))
    if asked.stream:
        return streamed(pieces, anthropic_encode.MessageStream(asked.model))
    return whole(pieces, lambda chunks, done: anthropic_encode.message(asked.model, chunks, done))


@router.post("/count_tokens")
async def count_tokens(request: Request) -> Response:
    asked = await decode.body(request, CountTokensRequest)
    model = await decode.model(request, decode.required(asked.model))
    job = anthropic_decode.job(asked, model)

    async def make() -> TokenCount:
        return TokenCount(input_tokens=await completions.count_tokens(state_of(request).manager, job))

    return once(make)
