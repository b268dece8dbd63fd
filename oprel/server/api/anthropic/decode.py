"""From requests of Anthropic's Messages API to jobs."""

from collections.abc import Iterator, Sequence

from pydantic import JsonValue

from oprel.core.completion import CompletionRequest, PromptMessage, ToolCall
from oprel.core.exceptions import UnsupportedError, ValidationError
from oprel.formats.templates.thinking import RANKS
from oprel.server.api.anthropic import types as wire
from oprel.server.api.common import decode
from oprel.server.api.common.merge_messages import joined_texts, merge_messages
from oprel.server.inference.jobs import Job
from oprel.server.inference.structured_output.tools import function_tools
from oprel.server.models.installed_model import InstalledModel

TOOL_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def job(body: wire.CountTokensRequest, model: InstalledModel) -> Job:
    """The job for a request. A prompt that does not fit is rejected: this dialect has no field for a truncation."""
    messages = _messages(body)
    images = any(message.images for message in messages)
    decode.refuse_unsupported(model, body.model, "chat", images=images)
    sampling, load = decode.options({**body.options, **_sampling_options(body)}, model.conventions.parameters)
    choice, output = body.tool_choice, body.output_config.format or body.output_format
    request = CompletionRequest(
        prompt=decode.with_system("", messages, model),
        sampling=sampling,
        schema=decode.schema(output.schema_) if output else None,
        think=_think(body) if "thinking" in model.capabilities else None,
        tools=function_tools([_tool(tool) for tool in body.tools]),
        tool_choice=_tool_choice(choice) if choice else None,
        parallel_tool_calls=False if choice and choice.disable_parallel_tool_use else None,
        truncate=False,
    )
    return Job(model=model, request=request, load=load, keep_alive=decode.keep_alive(body.keep_alive))


def _sampling_options(body: wire.CountTokensRequest) -> dict[str, JsonValue]:
    """Anthropic's sampling fields as options."""
    if not isinstance(body, wire.MessagesRequest):
        return {}
    if body.max_tokens <= 0:
        raise ValidationError("max_tokens is required and must be positive")
    given: dict[str, JsonValue] = {
        "num_predict": body.max_tokens,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "top_k": body.top_k,
        "stop": list(body.stop_sequences) or None,
    }
    return {name: value for name, value in given.items() if value is not None}


def ignored(body: wire.CountTokensRequest, model: InstalledModel) -> list[str]:
    """The parts of a request that have no effect."""
    think = _think(body)
    if decode.unheeded(think, model) or (think and "thinking" not in model.capabilities):
        return ["output_config.effort" if isinstance(think, str) else "thinking"]
    return []


def _think(body: wire.CountTokensRequest) -> bool | str | None:
    """`thinking` if it is on or off, else the effort; None leaves it to the model."""
    switch = {"enabled": True, "disabled": False}
    if body.thinking.type in switch:
        return switch[body.thinking.type]
    return body.output_config.effort if body.output_config.effort in RANKS else None


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


def _messages(body: wire.CountTokensRequest) -> list[PromptMessage]:
    if not body.messages:
        raise ValidationError("messages is required")
    system = joined_texts(block.text for block in body.system)
    given = [message for sent in body.messages for message in _prompt_messages(sent)]
    if not given:
        raise ValidationError("messages: at least one must have content")
    return merge_messages([*([PromptMessage("system", system)] if system else []), *given])


def _prompt_messages(message: wire.TurnMessage) -> Iterator[PromptMessage]:
    """The tool results of a message, then the rest of it."""
    results = [block for block in message.content if isinstance(block, wire.ToolResultBlock)]
    for result in results:
        text = joined_texts(_texts(result.content))
        if result.is_error:
            text = f"Error: {text}"
        yield PromptMessage("tool", text, tool_call_id=result.tool_use_id, images=_images(result.content))
    if rest := [block for block in message.content if not isinstance(block, wire.ToolResultBlock)]:
        yield PromptMessage(
            role=message.role,
            content=joined_texts(_texts(rest)),
            thinking=joined_texts(block.thinking for block in rest if isinstance(block, wire.ThinkingBlock)),
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
