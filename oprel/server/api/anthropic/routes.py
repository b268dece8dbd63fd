"""Anthropic's Messages API as a codec around the shared completions path."""

from fastapi import Request, Response

from oprel.server.access.caller import AccessLevel
from oprel.server.api.anthropic import decode as anthropic_decode
from oprel.server.api.anthropic import encode as anthropic_encode
from oprel.server.api.anthropic.errors import encode_error
from oprel.server.api.anthropic.types import CountTokensRequest, MessagesRequest, TokenCount
from oprel.server.api.common import decode
from oprel.server.api.common.app_state import state_of
from oprel.server.api.common.errors import dialect_router
from oprel.server.api.common.ignored import ignore
from oprel.server.api.common.streaming import collected_reply, object_reply, stream_reply
from oprel.server.inference import completions

router = dialect_router(encode_error, prefix="/v1/messages", access=AccessLevel.INFERENCE)


@router.post("")
async def messages(request: Request) -> Response:
    body = await decode.parse_body(request, MessagesRequest)
    model = await decode.model(request, decode.required(body.model))
    job = await decode.apart(request, lambda: anthropic_decode.job(body, model))
    pieces = completions.run(state_of(request).manager, job)
    ignore(request, anthropic_decode.ignored(body, model))
    if body.stream:
        return stream_reply(pieces, anthropic_encode.MessageStream(body.model))
    return collected_reply(pieces, lambda chunks, done: anthropic_encode.message(body.model, chunks, done))


@router.post("/count_tokens")
async def count_tokens(request: Request) -> Response:
    body = await decode.parse_body(request, CountTokensRequest)
    model = await decode.model(request, decode.required(body.model))
    job = await decode.apart(request, lambda: anthropic_decode.job(body, model))

    async def make() -> TokenCount:
        return TokenCount(input_tokens=await completions.count_tokens(state_of(request).manager, job))

    return object_reply(make)
