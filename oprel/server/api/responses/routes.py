"""OpenAI's Responses API as a codec around the shared completions path.

Requests may refer to the output items of the last responses, but not yet to a whole response.
"""

from fastapi import Request, Response

from oprel.server.access.caller import AccessLevel
from oprel.server.access.identify import caller_of
from oprel.server.api.common import decode, openai_shared
from oprel.server.api.common.app_state import state_of
from oprel.server.api.common.errors import dialect_router
from oprel.server.api.common.ignored import ignore
from oprel.server.api.common.streaming import collected_reply, stream_reply
from oprel.server.api.responses import decode as responses_decode
from oprel.server.api.responses import encode as responses_encode
from oprel.server.api.responses.errors import encode_error
from oprel.server.api.responses.types import ResponsesRequest
from oprel.server.inference import completions

router = dialect_router(encode_error, prefix="/v1/responses", access=AccessLevel.INFERENCE)


@router.post("")
async def responses(request: Request) -> Response:
    body = await decode.parse_body(request, ResponsesRequest)
    model = await decode.model(request, decode.required(body.model))
    state = state_of(request)
    stored = state.responses.of(caller_of(request).owner)
    job = await decode.apart(request, lambda: responses_decode.job(body, model, stored))
    ignore(request, [*responses_decode.ignored(body), *openai_shared.unheeded_thinking(body, model)])
    builder = responses_encode.ResponseBuilder(body, job.request, stored)
    pieces = completions.run(state.manager, job)
    if body.stream:
        return stream_reply(pieces, responses_encode.ResponseStream(builder))
    return collected_reply(pieces, lambda chunks, done: responses_encode.response(builder, chunks, done))
