"""From requests of OpenAI's Responses API to jobs."""

from collections.abc import Iterable, Iterator

from pydantic import JsonValue

from oprel.core.completion import CompletionRequest, PromptMessage, ToolCall
from oprel.core.exceptions import UnsupportedError, ValidationError
from oprel.server.api.common import decode, openai_shared
from oprel.server.api.common.merge_messages import joined_texts, merge_messages
from oprel.server.api.responses import types as wire
from oprel.server.history.stored_responses import CallersResponses
from oprel.server.inference.jobs import Job
from oprel.server.inference.structured_output.tools import function_tools
from oprel.server.models.installed_model import InstalledModel

SERVED_INCLUDE = "reasoning.encrypted_content"


def job(body: wire.ResponsesRequest, model: InstalledModel, stored: CallersResponses) -> Job:
    """The job for a request, which may refer to items of `stored`."""
    _refuse_stored_responses(body)
    messages, tools = _messages(body, stored), list(functions(body.tools))
    images = any(message.images for message in messages)
    decode.refuse_unsupported(model, body.model, "chat", images=images)
    sampling, load = openai_shared.options(body, model.conventions.parameters, body.max_output_tokens)
    request = CompletionRequest(
        prompt=decode.with_system("", messages, model),
        sampling=sampling,
        schema=openai_shared.schema(body.text.format),
        think=openai_shared.think_for(body, model),
        template_arguments=body.chat_template_kwargs,
        tools=function_tools([_function(tool) for tool in tools]),
        tool_choice=_tool_choice(body.tool_choice),
        parallel_tool_calls=body.parallel_tool_calls,
        logit_bias=body.logit_bias,
        truncate=body.truncate or body.truncation == "auto",
    )
    return Job(model=model, request=request, load=load, keep_alive=decode.keep_alive(body.keep_alive))


def functions(tools: Iterable[wire.ResponsesTool]) -> Iterator[wire.ResponsesTool]:
    """The functions among the tools and in their namespaces: what the model gets, and the answer's `tools` shows.

    Clients such as Codex send other tools too, in every request.
    """
    for tool in tools:
        if tool.type == "namespace":
            yield from functions(tool.tools)
        elif tool.type == "function":
            yield tool


def ignored(body: wire.ResponsesRequest) -> list[str]:
    """The parts of a request that have no effect."""
    return [*_other_tools(body.tools), *(f"include.{name}" for name in body.include if name != SERVED_INCLUDE)]


def _other_tools(tools: Iterable[wire.ResponsesTool]) -> Iterator[str]:
    for tool in tools:
        if tool.type == "namespace":
            yield from _other_tools(tool.tools)
        elif tool.type != "function":
            yield f"tools.{tool.type}"


def namespaces(tools: Iterable[wire.ResponsesTool]) -> dict[str, str]:
    """Namespaces by function, of the functions that have one."""
    return {function.name: tool.name for tool in tools if tool.type == "namespace" for function in tool.tools}


def _refuse_stored_responses(body: wire.ResponsesRequest) -> None:
    for name in ("previous_response_id", "conversation", "prompt", "background"):
        if getattr(body, name):
            raise UnsupportedError(
                f"`{name}` is not supported: oprel keeps no responses", "Send the whole conversation as `input`."
            )


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


def _messages(body: wire.ResponsesRequest, stored: CallersResponses) -> list[PromptMessage]:
    given = [message for item in body.input for message in _message(_resolved(item, stored))]
    if not given:
        raise ValidationError("input is required")
    return merge_messages([*([PromptMessage("system", body.instructions)] if body.instructions else []), *given])


def _resolved(item: wire.InputItem | wire.ItemReference, stored: CallersResponses) -> wire.InputItem:
    """The item itself where a reference is sent. Raises ValidationError for an unknown one."""
    if not isinstance(item, wire.ItemReference):
        return item
    if (content := stored.item(item.id)) is None:
        raise ValidationError(
            f"item {item.id!r} not found: oprel keeps the last responses only, until it restarts",
            "Send the item itself, as with `store: false`.",
        )
    return wire.ITEM.validate_json(content)


def _message(item: wire.InputItem) -> Iterator[PromptMessage]:
    match item:
        case wire.InputMessage():
            role = "system" if item.role in openai_shared.SYSTEM_ROLES else item.role
            yield PromptMessage(role, _text(item.content), images=_images(item.content))
        case wire.InputReasoning():
            yield PromptMessage("assistant", "", _text(item.content) or _text(item.summary))
        case wire.InputCall():
            call = ToolCall(item.call_id, item.name, openai_shared.arguments(item.arguments))
            yield PromptMessage("assistant", "", tool_calls=(call,))
        case wire.InputCallOutput():
            yield PromptMessage("tool", _text(item.output), tool_call_id=item.call_id, images=_images(item.output))


def _text(parts: Iterable[wire.ContentPart]) -> str:
    return joined_texts(part.text for part in parts if not isinstance(part, wire.ImagePart))


def _images(parts: Iterable[wire.ContentPart]) -> tuple[str, ...]:
    urls = [part.image_url for part in parts if isinstance(part, wire.ImagePart)]
    return decode.images([openai_shared.base64_of(url) for url in urls])
