"""From OpenAI's requests to jobs."""

from collections.abc import Mapping
from dataclasses import replace

from pydantic import JsonValue

from oprel.core.completion import CompletionRequest, LoadOptions, PromptMessage, Tokens, ToolCall
from oprel.core.exceptions import UnsupportedError, ValidationError
from oprel.server.api.common import decode, openai_shared
from oprel.server.api.common.openai_shared import SYSTEM_ROLES, SamplingFields
from oprel.server.api.openai.types import (
    ChatCompletionRequest,
    ChatMessage,
    ContentPart,
    TextCompletionRequest,
)
from oprel.server.inference.jobs import Job
from oprel.server.inference.structured_output.tools import function_tools
from oprel.server.models.installed_model import InstalledModel

TEXT_PARTS = ("text", "input_text", "output_text", "refusal")
IMAGE_PARTS = ("image_url", "input_image")
MOST_ANSWERS = 128  # to one prompt, OpenAI's limit


def chat_job(body: ChatCompletionRequest, model: InstalledModel) -> Job:
    if not body.messages:
        raise ValidationError("[] is too short - 'messages'", "Send at least one message.")
    if others := [kind for kind in body.modalities if kind != "text"]:
        raise UnsupportedError(f"answers in {others[0]} are not supported", "Ask for text.")
    messages = tuple(decode.linked([prompt_message(message) for message in body.messages]))
    images = any(message.images for message in messages)
    tools = [tool for tool in body.tools if _is_function(tool)]
    decode.refuse_unsupported(model, body.model, "chat", images=images)
    limit = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    sampling, load = openai_shared.options(body, model.conventions.parameters, limit)
    request = CompletionRequest(
        prompt=decode.with_system("", messages, model),
        sampling=sampling,
        schema=openai_shared.schema(body.response_format),
        think=openai_shared.think_for(body, model),
        template_arguments=body.chat_template_kwargs,
        tools=function_tools(tools),
        tool_choice=body.tool_choice,
        parallel_tool_calls=body.parallel_tool_calls,
        top_logprobs=decode.top_logprobs(body.logprobs, body.top_logprobs),
    )
    return _job(body, model, request, load)


def ignored(body: ChatCompletionRequest) -> list[str]:
    """The parts of a request that have no effect: tools that the provider itself would run."""
    return [f"tools.{tool.get('type')}" for tool in body.tools if not _is_function(tool)]


def _is_function(tool: Mapping[str, JsonValue]) -> bool:
    return tool.get("type") in (None, "", "function") or "function" in tool


def text_jobs(body: TextCompletionRequest, model: InstalledModel) -> list[Job]:
    """One job for each prompt."""
    if body.echo and body.logprobs is not None:
        raise UnsupportedError(
            "echo with logprobs is not supported: the engine reports no probabilities of a prompt's tokens",
            "Leave out one of them.",
        )
    decode.refuse_unsupported(model, body.model, "generate", images=False)
    sampling, load = openai_shared.options(body, model.conventions.parameters, body.max_tokens)
    base = CompletionRequest(
        prompt="",
        sampling=sampling,
        schema=openai_shared.schema(body.response_format),
        think=False,  # this dialect has no field for thoughts
        template_arguments=body.chat_template_kwargs,
        top_logprobs=decode.top_logprobs(body.logprobs is not None, body.logprobs or 0),
    )
    prompts = [_prompt(body, prompt, model) for prompt in prompts_of(body)]
    return [_job(body, model, replace(base, prompt=prompt), load) for prompt in prompts]


def prompts_of(body: TextCompletionRequest) -> list[str | list[int]]:
    """The prompts of a request: texts, or lists of tokens. Raises ValidationError for none."""
    if isinstance(body.prompt, str):
        return [body.prompt]
    if not body.prompt:
        raise ValidationError("prompt: an empty list", "Send a text, or a list with one text or more.")
    tokens = [item for item in body.prompt if isinstance(item, int)]
    return [tokens] if tokens else [item for item in body.prompt if not isinstance(item, int)]


def prompt_message(given: ChatMessage) -> PromptMessage:
    parts = [ContentPart(text=given.content)] if isinstance(given.content, str) else given.content
    return PromptMessage(
        role="system" if given.role in SYSTEM_ROLES else given.role,
        content="\n".join(part.text or part.refusal for part in parts if _is_text(part)),
        thinking=given.reasoning or given.reasoning_content,
        tool_calls=tuple(
            ToolCall(call.id, call.function.name, openai_shared.arguments(call.function.arguments))
            for call in given.tool_calls
        ),
        tool_call_id=given.tool_call_id,
        tool_name=given.name,
        images=decode.images([_image(part) for part in parts if not _is_text(part)]),
    )


def _is_text(part: ContentPart) -> bool:
    """False for an image. Raises UnsupportedError for anything else, such as `input_audio` or `file`."""
    if part.type in IMAGE_PARTS or (part.type == "text" and part.image_url is not None):
        return False
    if part.type not in TEXT_PARTS:
        raise UnsupportedError(
            f'parts of type "{part.type}" are not supported: models here read text and images', "Send text."
        )
    return True


def _image(part: ContentPart) -> str:
    """The base64 of an image's data URL."""
    url = part.image_url if isinstance(part.image_url, str) else part.image_url.url if part.image_url else ""
    return openai_shared.base64_of(url)


def _prompt(
    body: TextCompletionRequest, prompt: str | list[int], model: InstalledModel
) -> str | Tokens | tuple[PromptMessage, ...]:
    if isinstance(prompt, list):
        return Tokens(decode.tokens(prompt, model))
    if body.suffix:
        return decode.fill_in_the_middle(prompt, body.suffix, model)
    return prompt if body.raw else decode.prompt_of(prompt, "", model)


def _job(body: SamplingFields, model: InstalledModel, request: CompletionRequest, load: LoadOptions) -> Job:
    if body.n < 1:
        raise ValidationError("n must be at least 1")
    if body.n > MOST_ANSWERS:
        raise ValidationError(f"n must be at most {MOST_ANSWERS}")
    request = replace(request, logit_bias=body.logit_bias, n=body.n, truncate=body.truncate)
    return Job(model=model, request=request, load=load, keep_alive=decode.keep_alive(body.keep_alive))
