"""Wire types of OpenAI's Responses API, with the extensions of the other routes under `/v1`."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue, TypeAdapter

from oprel.api_models import RequestBody, Wire
from oprel.server.api.common.openai_shared import Reasoning, SamplingFields

# ------------------------------------------------------------------------------------------------- requests


class TextPart(RequestBody):
    type: Literal["input_text", "output_text", "text", "summary_text", "reasoning_text"]
    text: str


class RefusalPart(RequestBody):
    """A refusal, which OpenAI's models send instead of a text."""

    type: Literal["refusal"]
    text: str = Field(alias="refusal")


class ImagePart(RequestBody):
    type: Literal["input_image"]
    image_url: str = ""


def _parts(value: object) -> object:
    return [{"type": "input_text", "text": value}] if isinstance(value, str) else value


ContentPart = TextPart | RefusalPart | ImagePart
Content = Annotated[
    list[Annotated[ContentPart, Field(discriminator="type")]],
    BeforeValidator(_parts, json_schema_input_type=str | list[ContentPart]),
]


class InputMessage(RequestBody):
    type: Literal["message"]
    role: Literal["user", "assistant", "system", "developer"]
    content: Content = []


class InputReasoning(RequestBody):
    type: Literal["reasoning"]
    summary: list[TextPart] = []
    content: list[TextPart] = []


class InputCall(RequestBody):
    """`arguments` are JSON text."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str = ""


class InputCallOutput(RequestBody):
    type: Literal["function_call_output"]
    call_id: str
    output: Content = []


class ForeignItem(RequestBody):
    """An item from another provider in the conversation, which local models cannot read."""

    type: Literal["web_search_call"]


class ItemReference(RequestBody):
    """An output item of an earlier response, by its id."""

    type: Literal["item_reference"]
    id: str


InputItem = InputMessage | InputReasoning | InputCall | InputCallOutput | ForeignItem
SentItem = Annotated[InputItem | ItemReference, Field(discriminator="type")]

ITEM: TypeAdapter[InputItem] = TypeAdapter(Annotated[InputItem, Field(discriminator="type")])


class PlainMessage(InputMessage):
    """A message may leave out its type."""

    type: Literal["message"] = "message"


def _items(value: object) -> object:
    """A plain text is a message of the user."""
    if isinstance(value, str):
        return [{"type": "message", "role": "user", "content": value}]
    if isinstance(value, list):
        return [{**item, "type": _type_of(item)} if isinstance(item, dict) else item for item in value]
    return value


def _type_of(item: dict[str, object]) -> object:
    """An item without a type is a message, or a reference if it has nothing but an id."""
    return item.get("type") or ("message" if "role" in item or "id" not in item else "item_reference")


class ResponsesTool(RequestBody):
    """A function in flat form, a namespace of functions, or one of OpenAI's own tools."""

    type: str = "function"
    name: str = ""
    description: str | None = None
    parameters: dict[str, JsonValue] | None = None
    strict: bool | None = None
    tools: "list[ResponsesTool]" = []


class NamedTool(RequestBody):
    type: str
    name: str = ""


class TextConfig(RequestBody):
    format: dict[str, JsonValue] = {"type": "text"}
    verbosity: str | None = None


class ReasoningConfig(Reasoning):
    summary: str | None = None


class ResponsesRequest(SamplingFields):
    input: Annotated[
        list[SentItem], BeforeValidator(_items, json_schema_input_type=str | list[PlainMessage | SentItem])
    ] = []
    instructions: str | None = None
    tools: list[ResponsesTool] = []
    tool_choice: Literal["auto", "none", "required"] | NamedTool = "auto"
    parallel_tool_calls: bool | None = None
    max_output_tokens: int | None = None
    reasoning: ReasoningConfig = ReasoningConfig()
    text: TextConfig = TextConfig()
    truncation: Literal["auto", "disabled"] = "disabled"
    metadata: dict[str, JsonValue] = {}
    store: bool = True
    include: list[str] = []
    previous_response_id: str | None = None
    conversation: JsonValue = None
    prompt: JsonValue = None
    background: bool = False


# -------------------------------------------------------------------------------------------------- answers

Status = Literal["in_progress", "completed", "incomplete"]


class SummaryText(Wire):
    type: Literal["summary_text"] = "summary_text"
    text: str


class ReasoningItem(Wire):
    """`encrypted_content` has the thoughts in plain text: some clients drop items without it."""

    id: str
    type: Literal["reasoning"] = "reasoning"
    summary: list[SummaryText]
    encrypted_content: str | None
    status: Status


class OutputText(Wire):
    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[JsonValue] = []
    logprobs: list[JsonValue] = []


class MessageItem(Wire):
    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    content: list[OutputText]
    status: Status


class CallItem(Wire):
    """`arguments` are JSON text; `namespace` is the tool's, if it has one."""

    id: str
    type: Literal["function_call"] = "function_call"
    call_id: str
    name: str
    namespace: str | None
    arguments: str
    status: Status


OutputItem = ReasoningItem | MessageItem | CallItem


class InputDetails(Wire):
    cached_tokens: int
    cache_write_tokens: int = 0


class OutputDetails(Wire):
    """Engines do not count thoughts separately."""

    reasoning_tokens: int = 0


class ResponsesUsage(Wire):
    """Counts in tokens."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails = OutputDetails()
    total_tokens: int


class IncompleteDetails(Wire):
    reason: Literal["max_output_tokens"] = "max_output_tokens"


class Response(Wire):
    """Times in seconds since 1970."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None = None
    status: Literal["in_progress", "completed", "incomplete", "failed"] = "in_progress"
    error: JsonValue = None
    incomplete_details: IncompleteDetails | None = None
    model: str
    output: list[OutputItem] = []
    usage: ResponsesUsage | None = None
    instructions: str | None
    tools: list[JsonValue]
    tool_choice: JsonValue
    parallel_tool_calls: bool
    temperature: float | None
    top_p: float | None
    max_output_tokens: int | None
    reasoning: JsonValue
    text: JsonValue
    truncation: Literal["auto", "disabled"]
    metadata: dict[str, JsonValue]
    previous_response_id: None = None
    max_tool_calls: None = None
    background: Literal[False] = False
    store: bool
    service_tier: Literal["default"] = "default"
    top_logprobs: Literal[0] = 0
    user: None = None
