"""From requests of OpenAI's Responses API to jobs."""

from collections.abc import Iterable, Iterator, Mapping

from pydantic import JsonValue

from oprel.core.completion import CompletionRequest, PromptMessage, ToolCall
from oprel.core.exceptions import UnsupportedError, ValidationError
from oprel.server.api.common import decode
from oprel.server.api.common.merge_messages import joined_texts, turns
from oprel.server.api.openai import decode as openai_decode
from oprel.server.api.responses import types as wire
from oprel.server.inference.completions import Job
from oprel.server.models.library import InstalledModel

IGNORED_TOOL = "web_search"  # Codex sends it always; the answer's `tools` show that the model was not told of it


def job(asked: wire.ResponsesRequest, model: InstalledModel) -> Job:
    """What to ask the engine for."""
    _refuse_memory(asked)
    messages, tools = _messages(asked), list(functions(asked.tools))
    images = any(message.images for message in messages)
    decode.refuse_unsupported(model, asked.model, "chat", tools=bool(tools), images=images)
    sampling, load = openai_decode.options(asked, model.manifest, asked.max_output_tokens)
    request = CompletionRequest(
        prompt=decode.with_system(None, messages, model),
        sampling=sampling,
        schema=_schema(asked.text.format),
        think=decode.think(openai_decode.think(asked.reasoning.effort), model, asked.model),
        tools=tuple(_function(tool) for tool in tools),
        tool_choice=_tool_choice(asked.tool_choice),
        parallel_tool_calls=asked.parallel_tool_calls,
        logit_bias=asked.logit_bias,
        truncate=asked.truncate or asked.truncation == "auto",
    )
    return Job(model, request, load, decode.keep_alive(asked.keep_alive))


def functions(tools: Iterable[wire.ResponsesTool]) -> Iterator[wire.ResponsesTool]:
    """The functions among the tools and in their namespaces. Raises UnsupportedError for what is neither."""
    for tool in tools:
        if tool.type == "namespace":
            yield from functions(tool.tools)
        elif tool.type == "function":
            yield tool
        elif not tool.type.startswith(IGNORED_TOOL):
            raise UnsupportedError(f'tools of type "{tool.type}" are not supported', "Send tools of type function.")


def namespaces(tools: Iterable[wire.ResponsesTool]) -> dict[str, str]:
    """The namespaces of the functions that are in one."""
    return {function.name: tool.name for tool in tools if tool.type == "namespace" for function in tool.tools}


def _refuse_memory(asked: wire.ResponsesRequest) -> None:
    for name in ("previous_response_id", "conversation", "prompt", "background"):
        if getattr(asked, name):
            raise UnsupportedError(
                f"`{name}` is not supported: oprel keeps no responses", "Send the whole conversation as `input`."
            )


def _schema(format: wire.TextFormat) -> Mapping[str, JsonValue] | None:
    if format.type == "json_object":
        return {}
    return decode.schema(format.schema_) if format.type == "json_schema" else None


def _function(tool: wire.ResponsesTool) -> dict[str, JsonValue]:
    if not tool.name:
        raise ValidationError("a tool of type function needs a name")
    parameters: JsonValue = tool.parameters or {"type": "object", "properties": {}}
    function = {"name": tool.name, "description": tool.description or "", "parameters": parameters}
    return {"type": "function", "function": function}


def _tool_choice(choice: str | wire.NamedTool) -> JsonValue:
    if isinstance(choice, str):
        return choice
    if choice.type != "function" or not choice.name:
        raise UnsupportedError(f'a tool_choice of type "{choice.type}" is not supported', "Name a function.")
    return {"type": "function", "function": {"name": choice.name}}


def _messages(asked: wire.ResponsesRequest) -> list[PromptMessage]:
    given = [message for item in asked.input for message in _message(item)]
    if not given:
        raise ValidationError("input is required")
    return turns([*([PromptMessage("system", asked.instructions)] if asked.instructions else []), *given])


def _message(item: wire.InputItem) -> Iterator[PromptMessage]:
    match item:
        case wire.InputMessage():
            role = "system" if item.role in openai_decode.SYSTEM_ROLES else item.role
            yield PromptMessage(role, _text(item.content), images=_images(item.content))
        case wire.InputReasoning():
            yield PromptMessage("assistant", "", _text(item.content) or _text(item.summary))
        case wire.InputCall():
            call = ToolCall(item.call_id, item.name, openai_decode.arguments(item.arguments))
            yield PromptMessage("assistant", "", tool_calls=(call,))
        case wire.InputCallOutput():
            yield PromptMessage("tool", _text(item.output), tool_call_id=item.call_id, images=_images(item.output))


def _text(parts: Iterable[wire.ContentPart]) -> str:
    return joined_texts(part.text for part in parts if not isinstance(part, wire.ImagePart))


def _images(parts: Iterable[wire.ContentPart]) -> tuple[str, ...]:
    urls = [part.image_url for part in parts if isinstance(part, wire.ImagePart)]
    return decode.images([openai_decode.base64_of(url) for url in urls])
