"""OpenAI's Responses API, for the description of the API."""

from oprel.server.api.common.streaming_response import SSE
from oprel.server.api.reference.error_types import OpenAIErrorForm
from oprel.server.api.reference.operation import (
    COMPLETION_HEADERS,
    JSON_CONTENT,
    DialectReference,
    Operation,
    Operations,
)
from oprel.server.api.responses import events, routes
from oprel.server.api.responses.types import ResponsesRequest

OPERATIONS: Operations = {
    routes.responses: Operation(
        summary="Answer a conversation, with items instead of messages.",
        body=ResponsesRequest,
        answers={JSON_CONTENT: events.ResponseAnswer, SSE: events.AnyResponseEvent},
        headers=COMPLETION_HEADERS,
    ),
}

REFERENCES = (
    DialectReference(
        name="Responses",
        about="OpenAI's Responses API. A stream ends with the event `response.completed`, `.incomplete` or `.failed`.",
        error=OpenAIErrorForm,
        operations=OPERATIONS,
    ),
)
