"""Anthropic's API, for the description of the API."""

from oprel.server.api.anthropic import events, models, routes, types
from oprel.server.api.common.streaming_response import SSE
from oprel.server.api.reference.error_types import AnthropicErrorForm
from oprel.server.api.reference.operation import (
    COMPLETION_HEADERS,
    JSON_CONTENT,
    DialectReference,
    Operation,
    Operations,
    QueryParameter,
    json_answer,
)

VERSION = QueryParameter(
    "anthropic-version", str, "With it, the answer has Anthropic's form; else OpenAI's.", is_header=True
)

OPERATIONS: Operations = {
    routes.messages: Operation(
        summary="Answer a conversation.",
        body=types.MessagesRequest,
        answers={JSON_CONTENT: events.MessageAnswer, SSE: events.AnyMessageEvent},
        headers=COMPLETION_HEADERS,
    ),
    routes.count_tokens: Operation(
        summary="The length of a conversation in tokens.",
        body=types.CountTokensRequest,
        answers=json_answer(types.TokenCount),
    ),
    models.list_models: Operation(
        summary="A page of the installed models.",
        answers=json_answer(types.AnthropicModels),
        parameters=(
            VERSION,
            QueryParameter("limit", int, "Models of a page, 1 to 1000; 20 by default. Only in Anthropic's form."),
            QueryParameter("after_id", str, "The model before the page. Only in Anthropic's form."),
            QueryParameter("before_id", str, "The model after the page. Only in Anthropic's form."),
        ),
    ),
    models.show_model: Operation(
        summary="One installed model.", answers=json_answer(types.AnthropicModel), parameters=(VERSION,)
    ),
}

REFERENCES = (
    DialectReference(
        name="Anthropic",
        about="Anthropic's Messages API. A stream ends with the event `message_stop`, or `error`.",
        error=AnthropicErrorForm,
        operations=OPERATIONS,
    ),
)
