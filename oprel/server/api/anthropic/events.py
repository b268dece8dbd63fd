"""Events of a streamed answer of Anthropic's API, as its description has them; `encode` writes them."""

from typing import Literal

from oprel.api_models import Wire
from oprel.server.api.anthropic.types import AnthropicMessage, AnthropicUsage, StopReason, Text, Thinking, ToolUse


class MessageAnswer(AnthropicMessage):
    """`ended_by` and `unparsed` are oprel's own: see `api_models.AnswerMetrics`."""

    ended_by: str | None = None
    unparsed: str | None = None


class MessageStart(Wire):
    """Its usage has zeros: the counts come at the end."""

    type: Literal["message_start"]
    message: AnthropicMessage


class PingEvent(Wire):
    type: Literal["ping"]


class BlockStart(Wire):
    type: Literal["content_block_start"]
    index: int
    content_block: Text | Thinking | ToolUse


class TextDelta(Wire):
    type: Literal["text_delta"]
    text: str


class ThinkingDelta(Wire):
    type: Literal["thinking_delta"]
    thinking: str


class InputDelta(Wire):
    """A piece of the JSON of a call's input."""

    type: Literal["input_json_delta"]
    partial_json: str


class SignatureDelta(Wire):
    type: Literal["signature_delta"]
    signature: Literal[""]


class BlockDelta(Wire):
    type: Literal["content_block_delta"]
    index: int
    delta: TextDelta | ThinkingDelta | InputDelta | SignatureDelta


class BlockStop(Wire):
    type: Literal["content_block_stop"]
    index: int


class MessageEnd(Wire):
    stop_reason: StopReason
    stop_sequence: None


class MessageDelta(Wire):
    """`ended_by` and `unparsed` are oprel's own: see `api_models.AnswerMetrics`."""

    type: Literal["message_delta"]
    delta: MessageEnd
    usage: AnthropicUsage
    ended_by: str | None = None
    unparsed: str | None = None


class MessageStop(Wire):
    type: Literal["message_stop"]


AnyMessageEvent = MessageStart | PingEvent | BlockStart | BlockDelta | BlockStop | MessageDelta | MessageStop
