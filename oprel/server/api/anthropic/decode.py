"""From requests of Anthropic's Messages API to jobs."""

from collections.abc import Iterator, Sequence

from pydantic import JsonValue

from oprel.core.completion import CompletionRequest, PromptMessage, ToolCall
from oprel.core.exceptions import UnsupportedError, ValidationError
from oprel.server.api.anthropic import types as wire
from oprel.server.api.common import decode
from oprel.server.api.common.merge_messages import joined_texts, turns
from oprel.server.inference.completions import Job
from oprel.server.models.library import InstalledModel

EFFORTS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "max"}
TOOL_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def job(asked: wire.CountTokensRequest, model: InstalledModel) -> Job:
    """What to ask the engine for. A prompt that does not fit is refused: this dialect has no field to tell of a cut."""
    messages = _messages(asked)
    images = any(message.images for message in messages)
    decode.refuse_unsupported(model, asked.model, "chat", tools=bool(asked.tools), images=images)
    sampling, load = decode.options({**asked.options, **_limits(asked)}, model.manifest)
    chosen, form = asked.tool_choice, asked.output_config.format
    request = CompletionRequest(
        prompt=decode.with_system(None, messages, model),
        sampling=sampling,
        schema=decode.schema(form.schema_) if form else None,
        think=_think(asked) if "thinking" in model.capabilities else None,
        tools=tuple(_tool(tool) for tool in asked.tools),
        tool_choice=_tool_choice(chosen) if chosen else None,
        parallel_tool_calls=False if chosen and chosen.disable_parallel_tool_use else None,
        truncate=False,
    )
    return Job(model, request, load, decode.keep_alive(asked.keep_alive))


def _limits(asked: wire.CountTokensRequest) -> dict[str, JsonValue]:
    """What the request says under Anthropic's names, under ours."""
    if not isinstance(asked, wire.MessagesRequest):
        return {}
    if asked.max_tokens <= 0:
        raise ValidationError("max_tokens is required and must be positive")
    given: dict[str, JsonValue] = {
        "num_predict": asked.max_tokens,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "top_k": asked.top_k,
        "stop": list(asked.stop_sequences) or None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _think(asked: wire.CountTokensRequest) -> bool | str | None:
    """`thinking` where it is clear, else the effort; None is up to the model."""
    clear = {"enabled": True, "disabled": False}
    if asked.thinking.type in clear:
        return clear[asked.thinking.type]
    return EFFORTS.get(asked.output_config.effort or "")


def _tool(tool: wire.AnthropicTool) -> dict[str, JsonValue]:
    if tool.input_schema is None and tool.type != "custom":
        raise UnsupportedError(f'tools of type "{tool.type}" are Anthropic\'s own', "Send tools with an input_schema.")
    function: dict[str, JsonValue] = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.input_schema or {"type": "object", "properties": {}},
    }
    return {"type": "function", "function": function}


def _tool_choice(choice: wire.ToolChoice) -> JsonValue:
    if choice.type == "tool":
        return {"type": "function", "function": {"name": choice.name}}
    return TOOL_CHOICES[choice.type]


def _messages(asked: wire.CountTokensRequest) -> list[PromptMessage]:
    if not asked.messages:
        raise ValidationError("messages is required")
    system = joined_texts(block.text for block in asked.system)
    given = [message for turn in asked.messages for message in _turn(turn)]
    return turns([*([PromptMessage("system", system)] if system else []), *given])


def _turn(turn: wire.TurnMessage) -> Iterator[PromptMessage]:
    """The results of tools in a turn, then the rest of it."""
    results = [block for block in turn.content if isinstance(block, wire.ToolResultBlock)]
    for result in results:
        text = joined_texts(_texts(result.content))
        if result.is_error:
            text = f"Error: {text}"
        yield PromptMessage("tool", text, tool_call_id=result.tool_use_id, images=_images(result.content))
    if rest := [block for block in turn.content if not isinstance(block, wire.ToolResultBlock)]:
        yield PromptMessage(
            turn.role,
            joined_texts(_texts(rest)),
            joined_texts(block.thinking for block in rest if isinstance(block, wire.ThinkingBlock)),
            tool_calls=tuple(
                ToolCall(block.id, block.name, block.input) for block in rest if isinstance(block, wire.ToolUseBlock)
            ),
            images=_images(rest),
        )


def _texts(blocks: Sequence[wire.Block]) -> Iterator[str]:
    for block in blocks:
        match block:
            case wire.TextBlock():
                yield block.text
            case wire.DocumentBlock():
                yield _data(block.source, "text", "a document", "Send its text as a text block.")


def _images(blocks: Sequence[wire.Block]) -> tuple[str, ...]:
    advice = "Send the image itself: a source of type base64."
    sources = [block.source for block in blocks if isinstance(block, wire.ImageBlock)]
    return decode.images([_data(source, "base64", "an image", advice) for source in sources])


def _data(source: wire.AnthropicSource, kind: str, what: str, advice: str) -> str:
    if source.type != kind:
        raise ValidationError(f'{what} with a source of type "{source.type}" is not supported', advice)
    return source.data
