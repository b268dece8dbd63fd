"""OpenAI's Responses API as a codec around the one completions path. Stateless: nothing of a response is kept."""

from fastapi import APIRouter, Request, Response

from oprel.server.api.common import decode
from oprel.server.api.common.app_state import state_of
from oprel.server.api.common.streaming import streamed, whole
from oprel.server.api.responses import decode as responses_decode
from oprel.server.api.responses import encode as responses_encode
from oprel.server.api.responses.types import ResponsesRequest
from oprel.server.inference import completions

router = APIRouter(prefix="/v1/responses")


@router.post("")
async def responses(request: Request) -> Response:
    asked = await decode.body(request, ResponsesRequest)
    model = await decode.model(request, decode.required(asked.model))
    job = responses_decode.job(asked, model)
    answer = responses_encode.ResponseBuilder(asked, job.request)
    pieces = completions.run(state_of(request).manager, job)
    if asked.stream:
        return streamed(pieces, responses_encode.ResponseStream(answer))
    return whole(pieces, lambda chunks, done: responses_encode.response(answer, chunks, done))
