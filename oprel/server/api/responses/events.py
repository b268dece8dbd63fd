"""Events of a streamed answer of the Responses API, as its description has them; `encode` writes them.

Each has its name as `type`, and its place in the stream as `sequence_number`.
"""

from typing import Literal

from pydantic import JsonValue

from oprel.api_models import Wire
from oprel.server.api.responses.types import OutputItem, OutputText, Response, SummaryText


class ResponseAnswer(Response):
    """`ended_by` and `unparsed` are oprel's own: see `api_models.AnswerMetrics`."""

    ended_by: str | None = None
    unparsed: str | None = None


class ResponseEvent(Wire):
    sequence_number: int


class ResponseStageEvent(ResponseEvent):
    """The response as it is at its beginning and at its end."""

    type: Literal[
        "response.created",
        "response.in_progress",
        "response.completed",
        "response.incomplete",
        "response.failed",
    ]
    response: ResponseAnswer


class OutputItemEvent(ResponseEvent):
    type: Literal["response.output_item.added", "response.output_item.done"]
    output_index: int
    item: OutputItem


class ContentEvent(ResponseEvent):
    """Of a part of an item."""

    item_id: str
    output_index: int


class TextPartEvent(ContentEvent):
    type: Literal["response.content_part.added", "response.content_part.done"]
    content_index: int
    part: OutputText


class SummaryPartEvent(ContentEvent):
    type: Literal["response.reasoning_summary_part.added", "response.reasoning_summary_part.done"]
    summary_index: int
    part: SummaryText


class TextDeltaEvent(ContentEvent):
    type: Literal["response.output_text.delta"]
    content_index: int
    logprobs: list[JsonValue]
    delta: str


class TextDoneEvent(ContentEvent):
    type: Literal["response.output_text.done"]
    content_index: int
    logprobs: list[JsonValue]
    text: str


class SummaryDeltaEvent(ContentEvent):
    type: Literal["response.reasoning_summary_text.delta"]
    summary_index: int
    delta: str


class SummaryDoneEvent(ContentEvent):
    type: Literal["response.reasoning_summary_text.done"]
    summary_index: int
    text: str


class ArgumentsDeltaEvent(ContentEvent):
    type: Literal["response.function_call_arguments.delta"]
    delta: str


class ArgumentsDoneEvent(ContentEvent):
    """`arguments` are JSON text."""

    type: Literal["response.function_call_arguments.done"]
    name: str
    arguments: str


AnyResponseEvent = (
    ResponseStageEvent
    | OutputItemEvent
    | TextPartEvent
    | SummaryPartEvent
    | TextDeltaEvent
    | TextDoneEvent
    | SummaryDeltaEvent
    | SummaryDoneEvent
    | ArgumentsDeltaEvent
    | ArgumentsDoneEvent
)
