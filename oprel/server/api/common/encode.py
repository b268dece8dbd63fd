"""From the daemon's types to wire types. Pure, except for the time of day."""

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, JsonValue
from starlette.responses import Response

from oprel import api_models as wire
from oprel.core.completion import Chunk, Logprob
from oprel.core.models import modelfile
from oprel.formats.gguf import GGUFFile, SkippedArray, Value
from oprel.formats.templates.plain_frame import PROMPT_ONLY
from oprel.server.api.common.streaming_response import JSON
from oprel.server.inference.completions import Done
from oprel.server.models.installed_model import InstalledModel
from oprel.server.models.summaries import Encoder, ModelList, ModelSummary
from oprel.server.pool.engine_status import EngineStatus
from oprel.utils.text import human_count

FOREVER = datetime(2318, 1, 1, tzinfo=UTC)  # about where Ollama's largest duration ends
HIDDEN_KEYS = {"general.name", "tokenizer.chat_template"}
SHORT_ARRAY = 5
FEWEST_DIGITS, DIGITS = "%.7g ", (8, 9)  # of a 32-bit float; nine always suffice


def json_bytes(reply: BaseModel) -> bytes:
    """Compact JSON without the fields that are None."""
    return reply.model_dump_json(exclude_none=True, by_alias=True).encode()


def json_response(reply: BaseModel, *, nulls: bool = False) -> Response:
    """One object; `nulls` includes the fields that are None."""
    return Response(reply.model_dump_json() if nulls else json_bytes(reply), media_type=JSON)


def listed(models: ModelList, encode: Encoder, around: bytes, others: Iterable[bytes] = ()) -> Response:
    """The usable models and `others` as a JSON array; `around` has %b in its place."""
    rows = (model.encoded(encode) for model in models.usable)
    return Response(around % b",".join((*rows, *others)), media_type=JSON)


def metrics(done: Done) -> dict[str, object]:
    """The fields that the last object of an answer adds, without zeros, as in Ollama."""
    counts = {
        "total_duration": done.total_ns,
        "load_duration": done.load_ns,
        "prompt_eval_count": done.usage.prompt_tokens,
        "prompt_eval_cached_count": done.usage.cached_tokens,
        "prompt_eval_duration": done.usage.prompt_ns,
        "eval_count": done.usage.completion_tokens,
        "eval_duration": done.usage.completion_ns,
    }
    context = {"context": done.context} if done.context is not None else {}
    return {
        "done_reason": done.finish.value,
        **context,
        **{name: count or None for name, count in counts.items()},
        "truncated": truncated(done),
        "recoveries": done.recoveries or None,
        "ended_by": done.ended_by or done.limit or None,
        "unparsed": done.unparsed or None,
    }


def ending(done: Done) -> Mapping[str, str]:
    """What oprel adds to the end of an answer that the guard ended, or that is sent as the model wrote it."""
    fields = {"ended_by": done.ended_by, "unparsed": done.unparsed}
    return {name: why for name, why in fields.items() if why}


def truncated(done: Done) -> wire.Truncated | None:
    """The part of the prompt that the model did not see, or forgot; None if it saw everything."""
    if not (done.shifted or done.truncation.messages or done.truncation.tokens):
        return None
    return wire.Truncated(messages=done.truncation.messages, tokens=done.truncation.tokens, shifted=done.shifted)


def tool_calls(chunk: Chunk) -> list[wire.OllamaToolCall] | None:
    calls = [
        wire.OllamaToolCall(
            id=call.id, function=wire.ToolFunction(name=call.name, arguments=dict(call.arguments), index=index)
        )
        for index, call in enumerate(chunk.tool_calls)
    ]
    return calls or None


def logprobs(tokens: Sequence[Logprob]) -> list[wire.OllamaLogprob] | None:
    encoded = [
        wire.OllamaLogprob(
            token=token.token,
            logprob=token.logprob,
            bytes=list(token.bytes),
            top_logprobs=logprobs(token.top),
            merged=token.merged or None,
        )
        for token in tokens
    ]
    return encoded or None


def details(model: InstalledModel | ModelSummary) -> wire.ModelDetails:
    header = model.header_summary
    return wire.ModelDetails(
        parent_model=model.manifest.parent,
        format=header.format,
        family=header.architecture,
        families=[header.architecture],
        parameter_size=human_count(header.parameters or 0),
        quantization_level=header.quantization,
        context_length=header.context_length,
        embedding_length=header.embedding_length,
    )


def running_model(status: EngineStatus) -> wire.RunningModel:
    """`size` is the memory that the model takes, `size_vram` the part of it on GPUs."""
    model = status.latest
    return wire.RunningModel(
        name=model.name,
        model=model.name,
        size=status.size_bytes,
        digest=model.digest,
        details=details(model),
        expires_at=expiry(status),
        size_vram=status.vram_bytes,
        context_length=status.num_ctx,
    )


def expiry(status: EngineStatus) -> str:
    """When the model is unloaded unless it is used; while it is used, as if that ended now."""
    left, present = status.keep_alive_left, datetime.now(UTC)
    far = left >= (FOREVER - present).total_seconds()
    return (FOREVER if far else present + timedelta(seconds=max(0.0, left))).astimezone().isoformat()


def show_response(
    model: InstalledModel, *, verbose: bool, shows_paths: bool, projector: GGUFFile | None = None
) -> wire.OllamaShowResponse:
    """Without `shows_paths` its Modelfile has the model's name in place of the files of this machine."""
    manifest, header = replace(model.manifest, parameters=model.conventions.parameters), model.header
    parameters = "\n".join(f"{name:<30} {value}" for name, value in modelfile.parameter_lines(manifest.parameters))
    comment = f"Modelfile of {model.name}, made by oprel\nTo build on it, begin with: FROM {model.name}"
    recipe = manifest.modelfile()
    if not shows_paths:
        recipe = replace(recipe, from_=model.name, also_from=(), adapters=())
    return wire.OllamaShowResponse(
        modelfile=modelfile.render(recipe, comment),
        parameters=parameters or None,
        template=PROMPT_ONLY if model.is_base else manifest.template or header.chat_template,
        system=manifest.system or None,
        license=manifest.license or None,
        details=details(model),
        messages=[wire.OllamaMessage(role=role, content=text) for role, text in manifest.messages] or None,
        model_info=_info(header, verbose),
        projector_info=_info(projector, verbose) if projector else None,
        tensors=[
            {"name": tensor.name, "type": tensor.type.name, "shape": list(tensor.shape)}
            for tensor in (header.tensors if model.is_gguf else ())
        ],
        capabilities=model.capabilities,
        modified_at=model.changed.isoformat(),
        notes=model.notes or None,
        parameter_sources=_sources(model) or None,
    )


def _sources(model: InstalledModel) -> dict[str, str]:
    return {name: default.source for name, default in sorted(model.conventions.defaults.items())}


def _info(header: GGUFFile, verbose: bool) -> dict[str, JsonValue]:
    info = {name: _plain(value, verbose) for name, value in header.metadata.items() if name not in HIDDEN_KEYS}
    return {**info, "general.parameter_count": header.parameter_count}


def embedding(vector: Sequence[float], dimensions: int, *, normalised: bool) -> Sequence[float]:
    """The first `dimensions` components of a vector, 0 for all, scaled to length 1 if wanted."""
    return scaled(vector, dimensions) if normalised else _as_float32(vector[: dimensions or None])


def scaled(vector: Sequence[float], dimensions: int) -> Sequence[float]:
    """The first `dimensions` components, scaled to length 1; the vector itself for 0 or all of its dimensions.

    >>> scaled((0.6, 0.8, 0.0), 1), scaled((0.6000000238418579, 0.800000011920929), 0)
    ([1.0], [0.6, 0.8])
    """
    if not 0 < dimensions < len(vector):
        return _as_float32(vector)
    cut = vector[:dimensions]
    length = math.hypot(*cut)
    return _as_float32([component / length for component in cut] if length else cut)


def _as_float32(vector: Sequence[float]) -> list[float]:
    """The components as 32-bit floats with the digits that they need: engines print those of 64 bits, twice as many."""
    exact = array("f", vector)
    shown = [float(text) for text in (FEWEST_DIGITS * len(vector) % tuple(vector)).split()]
    for digits in DIGITS:
        rounded = array("f", shown)
        if rounded == exact:
            break
        pairs = zip(shown, vector, rounded, exact, strict=True)
        shown = [text if got == want else float(f"{value:.{digits}g}") for text, value, got, want in pairs]
    return shown


def _plain(value: Value, verbose: bool) -> JsonValue:
    """Metadata for JSON. Long arrays are None unless `verbose`; arrays that were never read always are."""
    if isinstance(value, SkippedArray):
        return None
    if isinstance(value, tuple):
        return list(value) if verbose or len(value) <= SHORT_ARRAY else None
    return None if isinstance(value, float) and not math.isfinite(value) else value
