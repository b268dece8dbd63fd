"""oprel's own API of tokens: from text to a model's tokens and back."""

from fastapi import Request, Response

from oprel import api_models as wire
from oprel.server.access.caller import AccessLevel
from oprel.server.api.common import decode
from oprel.server.api.common.app_state import state_of
from oprel.server.api.common.errors import dialect_router
from oprel.server.api.common.streaming import object_reply
from oprel.server.api.oprel.errors import encode_api_error
from oprel.server.inference import embeddings

router = dialect_router(encode_api_error, prefix="/api", access=AccessLevel.INFERENCE)


@router.post("/tokenize")
async def tokenize(request: Request) -> Response:
    body = await decode.parse_body(request, wire.TokenizeRequest)
    model = await decode.model(request, decode.required(body.model))
    keep_alive = decode.keep_alive(body.keep_alive)

    async def make() -> wire.TokenizeResponse:
        tokens = await embeddings.tokenize(
            state_of(request).manager, model, body.text, special=body.special, keep_alive=keep_alive
        )
        return wire.TokenizeResponse(model=body.model, tokens=tokens)

    return object_reply(make)


@router.post("/detokenize")
async def detokenize(request: Request) -> Response:
    body = await decode.parse_body(request, wire.DetokenizeRequest)
    model = await decode.model(request, decode.required(body.model))
    keep_alive, tokens = decode.keep_alive(body.keep_alive), decode.tokens(body.tokens, model)

    async def make() -> wire.DetokenizeResponse:
        text = await embeddings.detokenize(state_of(request).manager, model, tokens, keep_alive=keep_alive)
        return wire.DetokenizeResponse(model=body.model, text=text)

    return object_reply(make)
