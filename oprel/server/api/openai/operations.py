"""OpenAI's API, for the description of the API."""

from oprel.server.api.common.streaming_response import SSE
from oprel.server.api.openai import answers as wire
from oprel.server.api.openai import routes, types
from oprel.server.api.reference.error_types import OpenAIErrorForm
from oprel.server.api.reference.operation import (
    COMPLETION_HEADERS,
    EMBEDDING_HEADERS,
    JSON_CONTENT,
    DialectReference,
    Operation,
    Operations,
    json_answer,
)

OPERATIONS: Operations = {
    routes.chat_completions: Operation(
        summary="Answer a conversation.",
        body=types.ChatCompletionRequest,
        answers={JSON_CONTENT: wire.ChatCompletion, SSE: wire.ChatCompletionChunk},
        headers=COMPLETION_HEADERS,
    ),
    routes.text_completions: Operation(
        summary="Answer prompts.",
        body=types.TextCompletionRequest,
        answers={JSON_CONTENT: wire.TextCompletion, SSE: wire.TextCompletion},
        headers=COMPLETION_HEADERS,
    ),
    routes.embed: Operation(
        summary="The vectors of texts or tokens.",
        body=types.EmbeddingRequest,
        answers=json_answer(wire.EmbeddingList),
        headers=EMBEDDING_HEADERS,
    ),
    routes.rerank: Operation(
        summary="How well documents fit a query, in the form of Jina and Cohere.",
        body=types.RerankRequest,
        answers=json_answer(wire.RerankList),
    ),
    routes.list_models: Operation(summary="The installed models.", answers=json_answer(wire.OpenAIModelList)),
    routes.show_model: Operation(summary="One installed model.", answers=json_answer(wire.OpenAIModel)),
}

REFERENCES = (
    DialectReference(
        name="OpenAI",
        about="OpenAI's API, and reranking in the form that others share. A stream ends with `data: [DONE]`.",
        error=OpenAIErrorForm,
        operations=OPERATIONS,
    ),
)
