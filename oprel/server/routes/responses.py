"""OpenAI's Responses API as a codec around the one completions path. Stateless: nothing of a response is kept."""

from fastapi import APIRouter, Request, Response

from oprel.server import completions
from oprel.server.routes import decode, responses_decode, responses_encode
from oprel.server.routes.answer import streamed, whole
from oprel.server.routes.responses_types import ResponsesRequest
from oprel.server.state import daemon_of

router = APIRouter(prefix="/v1/responses")


@router.post("")
async def responses(request: Request) -> Response:
    asked = await decode.body(request, ResponsesRequest)
    model = await decode.model(request, decode.required(asked.model))
    job = responses_decode.job(asked, model)
    answer = responses_encode.Answer(asked, job.request)
    pieces = completions.run(daemon_of(request).manager, job)
    if asked.stream:
        return streamed(pieces, responses_encode.ResponseStream(answer))
    return whole(pieces, lambda chunks, done: responses_encode.response(answer, chunks, done))
