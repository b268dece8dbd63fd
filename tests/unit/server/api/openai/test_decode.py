"""OpenAI's requests as jobs."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from oprel.core.completion import CompletionRequest, PromptMessage, Tokens, ToolCall
from oprel.core.exceptions import UnsupportedError, ValidationError
from oprel.core.models.manifests import Manifest
from oprel.formats.gguf import read_gguf
from oprel.server.api.common import openai_shared
from oprel.server.api.openai import decode as openai_decode
from oprel.server.api.openai.types import ChatCompletionRequest, ChatMessage, TextCompletionRequest
from oprel.server.models.installed_model import InstalledModel

HELLO = {"role": "user", "content": "hello"}


@pytest.fixture
def model(tiny: Path) -> InstalledModel:
    return InstalledModel(
        name="tiny:latest",
        manifest=Manifest(name="tiny:latest", weights=tiny),
        header=read_gguf(tiny),
        modified=datetime.now(UTC),
    )


def chat(model: InstalledModel, **fields: object) -> CompletionRequest:
    asked = ChatCompletionRequest.model_validate({"model": "tiny", "messages": [HELLO], **fields})
    return openai_decode.chat_job(asked, model).request


def texts(model: InstalledModel, **fields: object) -> list[CompletionRequest]:
    asked = TextCompletionRequest.model_validate({"model": "tiny", **fields})
    return [job.request for job in openai_decode.text_jobs(asked, model)]


def message(**fields: object) -> PromptMessage:
    return openai_decode.prompt_message(ChatMessage.model_validate({"role": "user", **fields}))


def test_temperature_and_top_p_are_openais_where_nobody_sets_them(model: InstalledModel) -> None:
    sampling = chat(model).sampling
    assert (sampling.temperature, sampling.top_p) == (1.0, 1.0)


def test_the_models_own_parameters_win_over_openais_defaults(model: InstalledModel) -> None:
    own = replace(model, manifest=replace(model.manifest, parameters={"temperature": 0.2, "top_k": 7}))
    sampling = chat(own).sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.2, 1.0, 7)
    assert chat(own, temperature=0.5).sampling.temperature == 0.5


def test_options_are_native_ones_beneath_openais_fields(model: InstalledModel) -> None:
    sampling = chat(model, options={"temperature": 0.1, "top_k": 3}, temperature=0.9).sampling
    assert (sampling.temperature, sampling.top_k) == (0.9, 3)


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_either_limit_is_heeded(model: InstalledModel, field: str) -> None:
    assert chat(model, **{field: 5}).sampling.num_predict == 5


def test_what_the_engine_knows_too_goes_to_it(model: InstalledModel) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "x-odd": 1}}}
    knowing = replace(
        model,
        header=replace(model.header, metadata={**model.header.metadata, "tokenizer.chat_template": "{{ tools }}"}),
    )
    request = chat(
        knowing, tools=[tool], tool_choice="required", parallel_tool_calls=False, n=2, logit_bias={"5": -100}, seed=3
    )
    assert (request.tools, request.tool_choice, request.parallel_tool_calls) == ((tool,), "required", False)
    assert (request.n, request.logit_bias, request.sampling.seed) == (2, {"5": -100.0}, 3)


@pytest.mark.parametrize(
    ("given", "schema"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {}),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "array"}}}, {"type": "array"}),
    ],
)
def test_a_response_format_is_a_schema(model: InstalledModel, given: dict[str, object], schema: object) -> None:
    assert chat(model, response_format=given).schema == schema


@pytest.mark.parametrize(
    ("effort", "think"),
    [(None, None), ("none", False), ("minimal", "minimal"), ("low", "low"), ("xhigh", "xhigh"), ("ultra", "ultra")],
)
def test_an_effort_is_an_amount_of_thinking(effort: str | None, think: bool | str | None) -> None:
    assert thinking(reasoning_effort=effort) == thinking(reasoning={"effort": effort}) == think


def thinking(**fields: object) -> bool | str | None:
    return openai_shared.think(openai_shared.SamplingFields.model_validate(fields))


def test_no_other_effort_is_known() -> None:
    with pytest.raises(ValidationError, match="invalid reasoning effort: 'lots'"):
        thinking(reasoning_effort="lots")


@pytest.mark.parametrize("state", [True, False])
@pytest.mark.parametrize(
    "switch",
    [
        lambda on: {"think": on},
        lambda on: {"reasoning": {"enabled": on}},
        lambda on: {"enable_thinking": on},
        lambda on: {"thinking": {"type": "enabled" if on else "disabled"}},
        lambda on: {"chat_template_kwargs": {"enable_thinking": on}},
        lambda on: {"chat_template_kwargs": {"thinking": on}},
    ],
)
def test_every_switch_of_thinking_works(switch: Callable[[bool], dict[str, object]], state: bool) -> None:
    assert thinking(**switch(state)) is state


@pytest.mark.parametrize(
    ("fields", "think"),
    [
        ({"think": True, "reasoning_effort": "none"}, False),
        ({"think": False, "reasoning_effort": "high"}, False),
        ({"think": True, "reasoning_effort": "low"}, "low"),
        ({"think": "max", "enable_thinking": True}, "max"),
        ({"reasoning": {"effort": "high", "enabled": False}}, False),
        ({"thinking": {"type": "adaptive"}, "chat_template_kwargs": {"x": 1, "thinking": "often"}}, None),
    ],
)
def test_off_wins_over_a_level_and_a_level_over_on(fields: dict[str, object], think: bool | str | None) -> None:
    assert thinking(**fields) == think


def test_variables_reach_the_template_of_a_model_that_cannot_think(model: InstalledModel) -> None:
    variables = {"enable_thinking": True, "tone": "dry"}
    request = chat(model, chat_template_kwargs=variables)
    assert (request.think, request.template_arguments) == (None, variables)
    with pytest.raises(UnsupportedError, match="does not support thinking"):
        chat(model, enable_thinking=True, chat_template_kwargs=variables)


def test_options_may_stand_beside_openais_fields(model: InstalledModel) -> None:
    request = chat(model, top_k=7, repetition_penalty=1.5, n_predict=9, ignore_eos=True, min_p=None)
    sampling = request.sampling
    assert (sampling.top_k, sampling.repeat_penalty, sampling.num_predict, sampling.ignore_eos) == (7, 1.5, 9, True)
    assert chat(model, top_k=7, options={"top_k": 3}, n_predict=9, max_tokens=4).sampling.top_k == 3
    asked = ChatCompletionRequest.model_validate({"model": "tiny", "messages": [HELLO], "num_ctx": 512})
    assert openai_decode.chat_job(asked, model).load.num_ctx == 512


@pytest.mark.parametrize("kind", ["input_audio", "file", "video_url", "thinking", "sculpture"])
def test_a_part_that_no_model_reads_is_refused(kind: str) -> None:
    with pytest.raises(UnsupportedError, match=f'^parts of type "{kind}" are not supported'):
        message(content=[{"type": "text", "text": "What is it?"}, {"type": kind, kind: {"data": "aGk="}}])


def test_a_refusal_of_an_earlier_answer_is_its_text() -> None:
    assert message(role="assistant", content=[{"type": "refusal", "refusal": "No."}]).content == "No."


def test_only_text_is_answered(model: InstalledModel) -> None:
    assert chat(model, modalities=["text"])
    with pytest.raises(UnsupportedError, match="(?m)^answers in audio are not supported$"):
        chat(model, modalities=["text", "audio"])


def test_tools_that_a_provider_runs_are_left_out(model: InstalledModel) -> None:
    asked = ChatCompletionRequest.model_validate(
        {"model": "tiny", "messages": [HELLO], "tools": [{"type": "web_search"}]}
    )
    assert openai_decode.chat_job(asked, model).request.tools == ()
    assert openai_decode.ignored(asked) == ["tools.web_search"]


def test_messages_must_not_be_empty(model: InstalledModel) -> None:
    with pytest.raises(ValidationError, match=r"(?m)^\[\] is too short - 'messages'$"):
        chat(model, messages=[])


def test_a_message_of_parts_is_one_message() -> None:
    parts = [
        {"type": "text", "text": "What is"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "text", "text": "this?"},
    ]
    assert message(content=parts) == PromptMessage("user", "What is\nthis?", images=("AAAA",))


@pytest.mark.parametrize("url", ["https://example.com/cat.png", "data:image/png,AAAA", ""])
def test_an_image_comes_with_the_request(url: str) -> None:
    with pytest.raises(ValidationError, match="(?m)^invalid image input$"):
        message(content=[{"type": "image_url", "image_url": {"url": url}}])


def test_a_call_comes_back_as_an_object() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    assert message(role="assistant", content=None, tool_calls=[call]).tool_calls == (ToolCall("c1", "f", {"x": 1}),)


def test_a_call_whose_arguments_are_no_object_is_refused() -> None:
    with pytest.raises(ValidationError, match="not a JSON object"):
        openai_shared.arguments("[1]")


@pytest.mark.parametrize("text", ['{"city": "Os', '{"city": "Os"', '{"city":"Os","day'])
def test_a_call_that_was_cut_comes_back_as_far_as_it_came(text: str) -> None:
    assert openai_shared.arguments(text)["city"] == "Os"


def test_a_tools_result_is_named_after_its_call(model: InstalledModel) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked = [HELLO, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c1", "content": "5"}]
    prompt = chat(model, messages=asked).prompt
    assert isinstance(prompt, tuple)
    assert prompt[-1] == PromptMessage("tool", "5", tool_call_id="c1", tool_name="f")


def test_a_developer_is_the_system() -> None:
    assert message(role="developer", content="Be brief.") == PromptMessage("system", "Be brief.")


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("a", [(PromptMessage("user", "a"),)]),
        (["a", "b"], [(PromptMessage("user", "a"),), (PromptMessage("user", "b"),)]),
        ([1, 2], [Tokens((1, 2))]),
        ([[1, 2], [3]], [Tokens((1, 2)), Tokens((3,))]),
    ],
)
def test_a_text_completion_takes_texts_and_tokens(model: InstalledModel, prompt: object, prompts: list[object]) -> None:
    assert [request.prompt for request in texts(model, prompt=prompt)] == prompts


def test_raw_text_goes_as_it_is(model: InstalledModel) -> None:
    assert [request.prompt for request in texts(model, prompt="a", raw=True)] == ["a"]


def test_nothing_is_cut_unless_asked_for(model: InstalledModel) -> None:
    assert (chat(model).truncate, chat(model, truncate=True).truncate) == (False, True)


def test_there_is_at_least_one_answer(model: InstalledModel) -> None:
    with pytest.raises(ValidationError, match="(?m)^n must be at least 1$"):
        chat(model, n=0)


def test_as_many_biases_as_an_engine_can_compare_are_taken(model: InstalledModel) -> None:
    most = {str(token): 1.0 for token in range(openai_shared.MOST_BIASES)}
    assert chat(model, logit_bias=most).logit_bias == most
    with pytest.raises(ValueError, match="at most 5000 items"):
        chat(model, logit_bias={**most, "-1": 1.0})
