"""Ollama's API, for the description of the API."""

from oprel import api_models as wire
from oprel.server.api.common.streaming_response import NDJSON
from oprel.server.api.ollama import models, routes
from oprel.server.api.reference.error_types import FlatError
from oprel.server.api.reference.operation import (
    COMPLETION_HEADERS,
    EMBEDDING_HEADERS,
    JSON_CONTENT,
    TEXT_CONTENT,
    DialectReference,
    Operation,
    Operations,
    json_answer,
)

STEPS = {NDJSON: wire.ProgressResponse, JSON_CONTENT: wire.ProgressResponse}

OPERATIONS: Operations = {
    routes.root: Operation(summary="Whether a daemon answers here.", answers={TEXT_CONTENT: str}),
    routes.version: Operation(
        summary="The release of Ollama whose API this is, and oprel's own.", answers=json_answer(wire.VersionResponse)
    ),
    routes.tags: Operation(summary="The installed models.", answers=json_answer(wire.OllamaListResponse)),
    routes.ps: Operation(summary="The loaded models.", answers=json_answer(wire.OllamaProcessResponse)),
    routes.show: Operation(
        summary="What a model is.", body=wire.ShowRequest, answers=json_answer(wire.OllamaShowResponse)
    ),
    routes.generate: Operation(
        summary="Answer a prompt; without one, load the model, or unload it if `keep_alive` is 0.",
        body=wire.GenerateRequest,
        answers={NDJSON: wire.GenerateResponse, JSON_CONTENT: wire.GenerateResponse},
        headers=COMPLETION_HEADERS,
    ),
    routes.chat: Operation(
        summary="Answer a conversation; without messages, load or unload the model.",
        body=wire.ChatRequest,
        answers={NDJSON: wire.OllamaChatResponse, JSON_CONTENT: wire.OllamaChatResponse},
        headers=COMPLETION_HEADERS,
    ),
    routes.embed: Operation(
        summary="The vectors of texts.",
        body=wire.EmbedRequest,
        answers=json_answer(wire.EmbedResponse),
        headers=EMBEDDING_HEADERS,
    ),
    routes.embed_one: Operation(
        summary="The vector of a text: an older form of `/api/embed`.",
        body=wire.EmbeddingsRequest,
        answers=json_answer(wire.EmbeddingsResponse),
        headers=EMBEDDING_HEADERS,
    ),
    routes.status: Operation(
        summary="Whether cloud models are on: they never are.", answers=json_answer(wire.CloudStatusResponse)
    ),
    models.has_blob: Operation(
        summary="Whether a file is stored.",
        statuses={200: "It is stored.", 400: "This is not a digest.", 404: "It is not stored."},
        reports_errors=False,
    ),
    models.add_blob: Operation(
        summary="Store a file under its digest, for `/api/create`.",
        takes_bytes=True,
        statuses={200: "It was stored already.", 201: "It is stored."},
    ),
    models.create_model: Operation(summary="Make a model.", body=wire.CreateRequest, answers=STEPS),
    models.copy: Operation(summary="Give a model a second name.", body=wire.CopyRequest),
    models.delete: Operation(summary="Delete a model.", body=wire.DeleteRequest),
    models.pull: Operation(summary="Download a model.", body=wire.PullRequest, answers=STEPS),
    models.push_model: Operation(summary="Upload a model to a registry.", body=wire.PullRequest, answers=STEPS),
}

REFERENCES = (
    DialectReference(
        name="Ollama",
        about="Ollama's API, with a few fields of oprel's own.",
        error=FlatError,
        operations=OPERATIONS,
    ),
)
