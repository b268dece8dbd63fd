"""From OpenAI's requests to jobs."""

from collections.abc import Mapping
from dataclasses import replace

import orjson
from pydantic import JsonValue

from oprel.core.completion import CompletionRequest, LoadOptions, PromptMessage, Sampling, Tokens, ToolCall
from oprel.core.exceptions import ValidationError
from oprel.core.manifests import Manifest
from oprel.server.api.common import decode
from oprel.server.api.openai.types import (
    ChatCompletionRequest,
    ChatMessage,
    ContentPart,
    ResponseFormat,
    SamplingFields,
    TextCompletionRequest,
)
from oprel.server.inference.completions import Job
from oprel.server.models.library import InstalledModel

# OpenAI's defaults, beneath what the model's own parameters say.
DEFAULTS: Mapping[str, JsonValue] = {"temperature": 1.0, "top_p": 1.0}
EFFORTS = {
    **dict.fromkeys(("minimal", "low"), "low"),
    "medium": "medium",
    "high": "high",
    **dict.fromkeys(("xhigh", "ultra", "max"), "max"),
}
SYSTEM_ROLES = ("system", "developer")
MOST_ANSWERS = 128  # to one prompt, as OpenAI has it


def chat_job(asked: ChatCompletionRequest, model: InstalledModel) -> Job:
    if not asked.messages:
        raise ValidationError("[] is too short - 'messages'", "Send at least one message.")
    messages = tuple(decode.linked([message(one) for one in asked.messages]))
    images = any(one.images for one in messages)
    decode.refuse_unsupported(model, asked.model, "chat", tools=bool(asked.tools), images=images)
    limit = asked.max_tokens if asked.max_completion_tokens is None else asked.max_completion_tokens
    sampling, load = options(asked, model.manifest, limit)
    request = CompletionRequest(
        prompt=decode.with_system(None, messages, model),
        sampling=sampling,
        schema=schema(asked.response_format),
        think=decode.think(think(asked.reasoning_effort or asked.reasoning.effort), model, asked.model),
        tools=tuple(asked.tools),
        tool_choice=asked.tool_choice,
        parallel_tool_calls=asked.parallel_tool_calls,
        top_logprobs=decode.top_logprobs(asked.logprobs, asked.top_logprobs),
    )
    return _job(asked, model, request, load)


def text_jobs(asked: TextCompletionRequest, model: InstalledModel) -> list[Job]:
    """A job for each prompt."""
    decode.refuse_unsupported(model, asked.model, "generate", tools=False, images=False)
    sampling, load = options(asked, model.manifest, asked.max_tokens)
    told = decode.top_logprobs(asked.logprobs is not None, asked.logprobs or 0)
    base = CompletionRequest("", sampling, think=False, top_logprobs=told)  # this dialect has no place for thoughts
    prompts = [_prompt(asked, one, model) for one in prompts_of(asked)]
    return [_job(asked, model, replace(base, prompt=prompt), load) for prompt in prompts]


def prompts_of(asked: TextCompletionRequest) -> list[str | list[int]]:
    """The prompts of a request: texts, or lists of tokens."""
    if isinstance(asked.prompt, str):
        return [asked.prompt]
    tokens = [one for one in asked.prompt if isinstance(one, int)]
    return [tokens] if tokens else [one for one in asked.prompt if not isinstance(one, int)]


def options(asked: SamplingFields, manifest: Manifest, limit: int | None) -> tuple[Sampling, LoadOptions]:
    """OpenAI's defaults < the model's parameters < `options` < OpenAI's fields. `limit` in tokens."""
    fields = ("temperature", "top_p", "seed", "stop", "frequency_penalty", "presence_penalty")
    given: dict[str, JsonValue] = {name: getattr(asked, name) for name in fields} | {"num_predict": limit}
    own: dict[str, JsonValue] = {**manifest.parameters}  # type: ignore[dict-item]  # a list of strings is JSON too
    present = {name: value for name, value in given.items() if value is not None}
    return decode.options({**DEFAULTS, **own, **asked.options, **present}, manifest)


def think(effort: str | None) -> bool | str | None:
    """`think` for a reasoning effort. Raises ValidationError for an unknown one."""
    if effort is None:
        return None
    if effort == "none":
        return False
    if effort not in EFFORTS:
        raise ValidationError(f"invalid reasoning effort: {effort!r}", f"One of: none, {', '.join(EFFORTS)}.")
    return EFFORTS[effort]


def schema(given: ResponseFormat) -> Mapping[str, JsonValue] | None:
    if given.type == "json_object":
        return {}
    if given.type == "json_schema" and given.json_schema:
        return decode.schema(given.json_schema.schema_)
    return None


def message(given: ChatMessage) -> PromptMessage:
    parts = [ContentPart(text=given.content)] if isinstance(given.content, str) else given.content
    return PromptMessage(
        role="system" if given.role in SYSTEM_ROLES else given.role,
        content="\n".join(part.text for part in parts if part.type in ("text", "input_text", "output_text")),
        thinking=given.reasoning or given.reasoning_content,
        tool_calls=tuple(
            ToolCall(call.id, call.function.name, arguments(call.function.arguments)) for call in given.tool_calls
        ),
        tool_call_id=given.tool_call_id,
        tool_name=given.name,
        images=decode.images([image(part) for part in parts if part.image_url is not None]),
    )


def arguments(text: str) -> Mapping[str, JsonValue]:
    """A call's arguments. Raises ValidationError when they are no JSON object."""
    try:
        value = orjson.loads(text or "{}")
    except orjson.JSONDecodeError as error:
        raise ValidationError(f"the arguments of a tool call are not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValidationError("the arguments of a tool call are not a JSON object")
    return value


def image(part: ContentPart) -> str:
    """The base64 of an image's data URL."""
    url = part.image_url if isinstance(part.image_url, str) else part.image_url.url if part.image_url else ""
    return base64_of(url)


def base64_of(url: str) -> str:
    """The base64 of a data URL. Raises ValidationError for any other: oprel fetches nothing for a request."""
    head, _, content = url.partition(";base64,")
    if not head.startswith("data:") or not content:
        raise ValidationError("invalid image input", "Send the image itself: data:image/png;base64,…")
    return content


def _prompt(
    asked: TextCompletionRequest, prompt: str | list[int], model: InstalledModel
) -> str | Tokens | tuple[PromptMessage, ...]:
    if isinstance(prompt, list):
        return Tokens(decode.tokens(prompt, model))
    if asked.suffix:
        return decode.fill_in_the_middle(prompt, asked.suffix, model)
    return prompt if asked.raw else decode.with_system(None, (PromptMessage("user", prompt),), model)


def _job(asked: SamplingFields, model: InstalledModel, request: CompletionRequest, load: LoadOptions) -> Job:
    if asked.n < 1:
        raise ValidationError("n must be at least 1")
    if asked.n > MOST_ANSWERS:
        raise ValidationError(f"n must be at most {MOST_ANSWERS}")
    whole = replace(request, logit_bias=asked.logit_bias, n=asked.n, truncate=asked.truncate)
    return Job(model, whole, load, decode.keep_alive(asked.keep_alive))
