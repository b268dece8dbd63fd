"""What requests may say, and what is answered to those that say it wrong."""

import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import JsonValue
from starlette.requests import Request
from starlette.types import Message, Scope

from oprel.api_models import ChatRequest, EmbedRequest, GenerateRequest, ShowRequest
from oprel.core.completion import CompletionRequest, LoadOptions, Sampling, Tokens
from oprel.core.exceptions import UnsupportedError, ValidationError
from oprel.core.models.manifests import Manifest
from oprel.formats.gguf import read_gguf
from oprel.server.access.caller import AccessLevel, Caller, CallerKind
from oprel.server.access.identify import CALLER
from oprel.server.api.common import decode
from oprel.server.models.installed_model import InstalledModel

PLAIN = Manifest(name="tiny:latest", weights=Path("/tiny.gguf"))


OWN_USER = Caller(CallerKind.OWN_USER, AccessLevel.ADMIN)


def request(content: bytes = b"") -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": content, "more_body": False}

    scope: Scope = {"type": "http", "headers": [(b"content-type", b"text/plain")], CALLER: OWN_USER}
    return Request(scope, receive)


@pytest.fixture
def model(tiny: Path) -> InstalledModel:
    return InstalledModel(
        name="tiny:latest", manifest=replace(PLAIN, weights=tiny), header=read_gguf(tiny), modified=datetime.now(UTC)
    )


def with_metadata(model: InstalledModel, **metadata: str | int) -> InstalledModel:
    keys = {name.replace("__", "."): value for name, value in metadata.items()}
    return replace(model, header=replace(model.header, metadata={**model.header.metadata, **keys}))


@pytest.mark.parametrize(
    "content",
    [
        b'{"model": "tiny", "prompt": "hello"}',
        b' \n{"model": "tiny", "prompt": "hello"}\r\n',
        b'{"model": "tiny", "prompt": "hello"} and more',
        b'{"model": "tiny", "prompt": "hello", "nonesuch": [1]}',
        b'{"model": "tiny", "prompt": "hello", "system": null, "stream": null, "options": null, "images": null}',
        b'{"Model": "tiny", "PROMPT": "hello"}',
        b'{"name": "tiny", "prompt": "hello"}',
        b'{"name": "other", "model": "tiny", "prompt": "hello"}',
    ],
)
async def test_a_body_is_read_leniently(content: bytes) -> None:
    body = await decode.parse_body(request(content), GenerateRequest)
    assert (body.model, body.prompt, body.stream, body.options, body.images) == ("tiny", "hello", True, {}, [])


async def test_a_null_counts_as_absent_in_messages_too() -> None:
    content = b'{"model": "tiny", "messages": [{"role": "user", "content": null, "tool_calls": null}]}'
    body = await decode.parse_body(request(content), ChatRequest)
    assert [(message.role, message.content) for message in body.messages] == [("user", "")]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "missing request body"),
        (b" \n", "missing request body"),
        (b"model=tiny", "the request body is not valid JSON"),
        (b'{"model": "tiny"', "the request body is not valid JSON"),
        (b'{"model": "\xff"}', "the request body is not valid JSON"),
        (b"[" * 100_000, "the request body is not valid JSON"),
        (b"[]", "the request must be a JSON object"),
        (b'"tiny"', "the request must be a JSON object"),
        (b"null", "the request must be a JSON object"),
        (b'{"model": 1}', "^model: input should be a valid string"),
        (b'{"messages": {}}', "^messages: input should be a valid list"),
        (b'{"messages": [{"role": "user"}, {"content": 5}]}', r"^messages\.1\.content: input should be a valid string"),
        (b'{"options": []}', "^options: input should be a valid dictionary"),
    ],
)
async def test_a_bad_body_is_refused_with_the_place(content: bytes, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        await decode.parse_body(request(content), ChatRequest)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *((None, None), (0, 0.0), (5, 5.0), (1.5, 1.5), (-1, math.inf), (-0.5, math.inf)),
        *(("0", 0.0), ("5m", 300.0), ("1h30m", 5400.0), ("0s", 0.0), ("-1m", math.inf), ("-1ns", math.inf)),
    ],
)
def test_keep_alive_is_seconds_or_a_duration(value: float | str | None, seconds: float | None) -> None:
    assert decode.keep_alive(value) == seconds


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        *(("5", 'time: missing unit in duration "5"'), ("-1", 'time: missing unit in duration "-1"')),
        *(("1.5", 'time: missing unit in duration "1.5"'), ("", 'time: invalid duration ""')),
        ("soon", 'time: invalid duration "soon"'),
    ],
)
def test_a_bad_keep_alive_is_refused_in_gos_words(value: str, complaint: str) -> None:
    with pytest.raises(ValidationError) as caught:
        decode.keep_alive(value)
    assert caught.value.message == complaint
    assert "5m" in caught.value.resolution_steps[0]


def test_options_are_for_sampling_and_for_loading() -> None:
    given: decode.Options = {"temperature": 1, "top_k": 5, "seed": 7, "stop": ["a", "b"], "num_ctx": 64, "num_gpu": 0}
    sampling, load = decode.options(given | {"use_mmap": False}, {})
    assert sampling == Sampling(temperature=1.0, top_k=5, seed=7, stop=("a", "b"))
    assert load == LoadOptions(num_ctx=64, num_gpu=0, use_mmap=False)


def test_a_requests_options_count_more_than_the_models_and_the_defaults() -> None:
    manifest = replace(PLAIN, parameters={"temperature": 0.1, "top_k": 1, "stop": ["a"], "num_ctx": 64})
    sampling, load = decode.options({"top_k": 2, "temperature": None}, manifest.parameters)
    assert (sampling.temperature, sampling.top_k, sampling.top_p, sampling.stop) == (0.1, 2, 0.9, ("a",))
    assert load == LoadOptions(num_ctx=64)


def test_unknown_options_are_ignored() -> None:
    assert decode.options({"mirostat": 1, "f16_kv": "yes"}, {}) == (Sampling(), LoadOptions())


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        *(("top_k", 5.0, 5), ("num_ctx", 64.9, 64), ("temperature", 0, 0.0), ("stop", "a", ("a",))),
        *(
            ("num_ctx", 3, 256),
            ("num_ctx", 4, 4),
            ("num_ctx", 0, None),
            ("num_ctx", -1, None),
            ("num_batch", 0, None),
            ("num_batch", 3, 32),
        ),
        *(("num_gpu", -1, None), ("num_gpu", 0, 0), ("num_thread", 0, None), ("main_gpu", -1, None)),
        *(("stop", "", ()), ("stop", [""], ()), ("stop", ["", "a", ""], ("a",))),
        *(("seed", -1, -1), ("seed", 0, 0), ("seed", 2**31, 2**31), ("seed", -(2**40), -1)),
    ],
)
def test_numbers_are_made_to_fit(name: str, value: JsonValue, field: object) -> None:
    sampling, load = decode.options({name: value}, {})
    assert {**vars(sampling), **vars(load)}[name] == field


@pytest.mark.parametrize("seed", [2**32 - 1, 2**32, 2**53 + 1, 2**62 + 12345, 2**63 - 1, 2**64 - 1, 1e19])
def test_a_seed_of_64_bits_becomes_one_that_an_engine_has(seed: float) -> None:
    sampling, _ = decode.options({"seed": seed}, {})
    assert sampling.seed is not None and 0 <= sampling.seed < 2**32 - 1
    other, _ = decode.options({"seed": int(seed) // 2}, {})
    assert other.seed != sampling.seed


@pytest.mark.parametrize(
    ("sent", "counts"),
    [({"num_ctx": 0}, {"num_ctx": 64}), ({"stop": ""}, {"stop": ("a",)}), ({"stop": []}, {"stop": ()})],
)
def test_what_means_not_set_leaves_the_models_own_parameter(sent: decode.Options, counts: dict[str, object]) -> None:
    manifest = replace(PLAIN, parameters={"stop": ["a"], "num_ctx": 64})
    sampling, load = decode.options(sent, manifest.parameters)
    assert counts.items() <= {**vars(sampling), **vars(load)}.items()


WRONG: dict[tuple[str, str], list[JsonValue]] = {
    ("top_k", "must be of type integer"): ["5", True, [5], {}],
    ("temperature", "must be of type float32"): ["hot", False, [0.5]],
    ("use_mmap", "must be of type boolean"): [1, "true"],
    ("stop", "must be of an array of strings"): [1, ["a", 1], {"a": 1}],
    ("top_p", "is out of range"): [1e300],
}


@pytest.mark.parametrize(
    ("name", "complaint", "value"), [(*about, value) for about, values in WRONG.items() for value in values]
)
def test_an_option_of_the_wrong_type_or_size_is_named(name: str, complaint: str, value: JsonValue) -> None:
    with pytest.raises(ValidationError) as caught:
        decode.options({name: value}, {})
    assert caught.value.message == f'option "{name}" {complaint}'


@pytest.mark.parametrize(
    ("value", "schema"), [(None, None), ("", None), ("json", {}), ({}, {}), ({"type": "object"}, {"type": "object"})]
)
def test_format_is_a_schema_or_json(value: JsonValue, schema: dict[str, JsonValue] | None) -> None:
    assert decode.schema(value) == schema


@pytest.mark.parametrize("value", ["xml", "JSON", 1, 0, True, False, [], ["json"]])
def test_another_format_is_refused(value: JsonValue) -> None:
    with pytest.raises(ValidationError, match='^invalid format: .*; expected "json" or a valid JSON Schema'):
        decode.schema(value)


@pytest.mark.parametrize("value", [None, True, False, "low", "medium", "high", "max"])
def test_a_thinking_model_is_told_how_much_to_think(model: InstalledModel, value: bool | str | None) -> None:
    thinking = with_metadata(model, tokenizer__chat_template="<think>")
    assert decode.think(value, thinking, "tiny") == value


def test_a_model_that_cannot_think_may_be_told_not_to(model: InstalledModel) -> None:
    assert (decode.think(None, model, "tiny"), decode.think(False, model, "tiny")) == (None, False)
    with pytest.raises(UnsupportedError, match='(?m)^"TINY" does not support thinking$'):
        decode.think(True, model, "TINY")


def test_no_other_amount_of_thinking_is_known(model: InstalledModel) -> None:
    with pytest.raises(ValidationError, match='^invalid think value: "much"'):
        decode.think("much", model, "tiny")


def test_a_gap_is_filled_by_models_that_know_how(model: InstalledModel) -> None:
    with pytest.raises(UnsupportedError, match="(?m)^tiny:latest does not support insert$"):
        decode.fill_in_the_middle("a", "b", model)
    fim = {"tokenizer__ggml__fim_pre_token_id": 5, "tokenizer__ggml__fim_suf_token_id": 6}
    knowing = with_metadata(model, **fim, tokenizer__ggml__fim_mid_token_id=7)
    assert decode.fill_in_the_middle("a", "b", knowing) == Tokens((5, "a", 6, "b", 7))


def test_images_are_for_models_that_see(model: InstalledModel) -> None:
    with pytest.raises(UnsupportedError, match='(?m)^"tiny" does not support images$'):
        decode.refuse_unsupported(model, "tiny", "chat", images=True)
    seeing = replace(model, manifest=replace(model.manifest, projector=model.weights))
    decode.refuse_unsupported(seeing, "tiny", "chat", images=True)


def test_an_image_is_base64() -> None:
    assert decode.images(["AAAA"]) == ("AAAA",)
    with pytest.raises(ValidationError, match="^an image is not base64"):
        decode.images(["data:image/png;base64,AAAA"])


def test_an_embedding_model_does_not_chat(model: InstalledModel) -> None:
    embeds_only = with_metadata(model, llama__pooling_type=1)
    with pytest.raises(UnsupportedError, match='(?m)^"tiny" does not support chat$') as caught:
        decode.refuse_unsupported(embeds_only, "tiny", "chat", images=False)
    assert "embed" in caught.value.resolution_steps[0]


def test_a_job_is_all_that_a_request_said(model: InstalledModel) -> None:
    said = {"options": {"seed": 7, "num_ctx": 64}, "format": "json", "think": False, "keep_alive": "1m"}
    job = decode.job(GenerateRequest.model_validate(said), model, "hello", context=[])
    sampling = Sampling(seed=7, stop=("<|im_start|>", "<|im_end|>"))  # the stops are those of the template's family
    assert job.request == CompletionRequest("hello", sampling, schema={}, think=False)
    assert (job.model, job.load, job.keep_alive, job.context) == (model, LoadOptions(num_ctx=64), 60.0, ())


async def test_each_route_has_its_own_fields() -> None:
    embed = await decode.parse_body(request(b'{"model": "m", "input": ["a"], "dimensions": 2}'), EmbedRequest)
    assert (embed.input, embed.truncate, embed.dimensions) == (["a"], True, 2)
    shown = await decode.parse_body(request(b'{"name": "m", "verbose": true}'), ShowRequest)
    assert (shown.model, shown.verbose) == ("m", True)
