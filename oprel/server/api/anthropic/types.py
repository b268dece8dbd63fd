"""Wire types of Anthropic's Messages API, with oprel's extensions `options` and `keep_alive`."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue

from oprel.api_models import ModelRequest, RequestBody, Wire
from oprel.utils.json.cut_json import closed_object

# ------------------------------------------------------------------------------------------------- requests


class AnthropicSource(RequestBody):
    """Where an image or a document is: `data` is base64 (type "base64") or plain (type "text")."""

    type: str
    data: str = ""


class TextBlock(RequestBody):
    type: Literal["text"]
    text: str


class ImageBlock(RequestBody):
    type: Literal["image"]
    source: AnthropicSource


class DocumentBlock(RequestBody):
    type: Literal["document"]
    source: AnthropicSource


class ThinkingBlock(RequestBody):
    type: Literal["thinking"]
    thinking: str = ""


def _input(value: object) -> object:
    """Clients may send the JSON of a call back as they received it, cut off or not."""
    return closed_object(value or "{}") if isinstance(value, str) else value


class ToolUseBlock(RequestBody):
    type: Literal["tool_use"]
    id: str
    name: str
    input: Annotated[
        dict[str, JsonValue], BeforeValidator(_input, json_schema_input_type=dict[str, JsonValue] | str)
    ] = {}


class ForeignBlock(RequestBody):
    """A block from another provider in the conversation, which local models cannot read."""

    type: Literal["redacted_thinking", "server_tool_use", "web_search_tool_result", "web_fetch_tool_result"]


def _blocks(value: object) -> object:
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


ResultBlocks = Annotated[
    list[Annotated[TextBlock | ImageBlock | DocumentBlock, Field(discriminator="type")]],
    BeforeValidator(_blocks, json_schema_input_type=str | list[TextBlock | ImageBlock | DocumentBlock]),
]


class ToolResultBlock(RequestBody):
    type: Literal["tool_result"]
    tool_use_id: str
    content: ResultBlocks = []
    is_error: bool = False


Block = TextBlock | ImageBlock | DocumentBlock | ThinkingBlock | ToolUseBlock | ToolResultBlock | ForeignBlock


class TurnMessage(RequestBody):
    role: Literal["user", "assistant", "system"]
    content: Annotated[
        list[Annotated[Block, Field(discriminator="type")]],
        BeforeValidator(_blocks, json_schema_input_type=str | list[Block]),
    ] = []


class AnthropicTool(RequestBody):
    """Tools that Anthropic itself runs have another type and no schema."""

    type: str = "custom"
    name: str
    description: str = ""
    input_schema: dict[str, JsonValue] | None = None


class ToolChoice(RequestBody):
    type: Literal["auto", "any", "tool", "none"]
    name: str = ""
    disable_parallel_tool_use: bool = False


class ThinkingConfig(RequestBody):
    type: str = ""


class OutputFormat(RequestBody):
    type: Literal["json_schema"]
    schema_: dict[str, JsonValue] = Field(alias="schema")


class OutputConfig(RequestBody):
    effort: str | None = None
    format: OutputFormat | None = None


class CountTokensRequest(ModelRequest):
    messages: list[TurnMessage] = []
    system: Annotated[list[TextBlock], BeforeValidator(_blocks, json_schema_input_type=str | list[TextBlock])] = []
    tools: list[AnthropicTool] = []
    tool_choice: ToolChoice | None = None
    thinking: ThinkingConfig = ThinkingConfig()
    output_config: OutputConfig = OutputConfig()
    output_format: OutputFormat | None = None  # of the beta, before `output_config`


class MessagesRequest(CountTokensRequest):
    max_tokens: int = 0
    stream: bool = False
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] = []


# -------------------------------------------------------------------------------------------------- answers


class Text(Wire):
    type: Literal["text"] = "text"
    text: str


class Thinking(Wire):
    """The signature is always empty: only Anthropic can sign."""

    type: Literal["thinking"] = "thinking"
    thinking: str
    signature: str = ""


class ToolUse(Wire):
    type: Literal["tool_use"] = "tool_use"
    id: str
    name: str
    input: dict[str, JsonValue]


class AnthropicUsage(Wire):
    """Counts in tokens. A prompt's length is the sum of the first three."""

    input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    output_tokens: int = 0


StopReason = Literal["end_turn", "max_tokens", "tool_use"]


class AnthropicMessage(Wire):
    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    model: str
    content: list[Text | Thinking | ToolUse] = []
    stop_reason: StopReason | None = None
    stop_sequence: None = None
    usage: AnthropicUsage = AnthropicUsage()


class TokenCount(Wire):
    input_tokens: int


class AnthropicModel(Wire):
    """`display_name` is the name: no model here has another. Times are RFC 3339."""

    type: Literal["model"] = "model"
    id: str
    display_name: str
    created_at: str
    lifecycle: Literal["active"] = "active"
    max_input_tokens: int | None = None
    max_tokens: int | None = None


class AnthropicModels(Wire):
    """A page of models; the ids are the cursors of the pages before and after it."""

    data: list[AnthropicModel]
    has_more: bool
    first_id: str | None
    last_id: str | None
