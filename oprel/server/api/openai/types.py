"""Requests of OpenAI's API, with oprel's extensions: `options`, `keep_alive`, `truncate`, `raw`."""

from typing import Annotated

from pydantic import Field, JsonValue

from oprel.api_models import KeepAlive, RequestBody, ToolChoiceValue, ToolDefinition
from oprel.server.api.common.openai_shared import SamplingFields

FORMAT_SCHEMA = {
    "properties": {
        "type": {"enum": ["text", "json_object", "json_schema"]},
        "json_schema": {"type": "object", "properties": {"schema": {"type": "object"}}, "required": ["schema"]},
    },
    "required": ["type"],
}
ResponseFormat = Annotated[dict[str, JsonValue], Field(json_schema_extra=FORMAT_SCHEMA)]


class ImageURL(RequestBody):
    url: str = ""


class ContentPart(RequestBody):
    """A part of a message; the types other than text and images are refused."""

    type: str = "text"
    text: str = ""
    refusal: str = ""
    image_url: ImageURL | str | None = None


class FunctionCall(RequestBody):
    """`arguments` are JSON text."""

    name: str = ""
    arguments: str = ""


class OpenAIToolCall(RequestBody):
    id: str = ""
    function: FunctionCall = FunctionCall()


class ChatMessage(RequestBody):
    role: str
    content: str | list[ContentPart] = ""
    reasoning: str = ""
    reasoning_content: str = ""
    tool_calls: list[OpenAIToolCall] = []
    tool_call_id: str = ""
    name: str = ""


class ChatCompletionRequest(SamplingFields):
    messages: list[ChatMessage] = []
    max_completion_tokens: int | None = None
    response_format: ResponseFormat | None = None
    tools: list[ToolDefinition] = []
    tool_choice: ToolChoiceValue = None
    parallel_tool_calls: bool | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    modalities: list[str] = []


class TextCompletionRequest(SamplingFields):
    """`raw` skips the model's chat template, as OpenAI does and Ollama does not."""

    prompt: str | list[str] | list[int] | list[list[int]] = ""
    suffix: str = ""
    echo: bool = False
    logprobs: int | None = None
    raw: bool = False
    response_format: ResponseFormat | None = None


class EmbeddingRequest(RequestBody):
    model: str = ""
    input: str | list[str] | list[int] | list[list[int]] | None = None
    dimensions: int = 0
    encoding_format: str = "float"
    options: dict[str, JsonValue] = {}
    keep_alive: KeepAlive | None = None
    truncate: bool | None = None  # None = as configured
    input_type: str = ""
    normalize: bool = True


class RerankDocument(RequestBody):
    text: str = ""


class RerankRequest(RequestBody):
    """The form of Jina and Cohere, which llama.cpp and vLLM share."""

    model: str = ""
    query: str = ""
    documents: list[str | RerankDocument] = []
    top_n: int | None = None
    return_documents: bool = False
    options: dict[str, JsonValue] = {}
    keep_alive: KeepAlive | None = None
