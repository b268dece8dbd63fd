"""The table of options, and that everything which lists options lists exactly those of the table."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import JsonValue

import oprel
from oprel.cli.conversation.session import Session, change, option
from oprel.cli.conversation.slash import candidates, help_on
from oprel.core import completion
from oprel.core.completion import CompletionRequest
from oprel.core.exceptions import ValidationError
from oprel.core.models.manifests import Manifest
from oprel.core.models.modelfile import TEXTS, parse
from oprel.core.request_options import (
    ALL_NAMES,
    OPTIONS,
    SAMPLING_OPTIONS,
    UNSUPPORTED,
    LoadOptions,
    OptionType,
    RequestOption,
    Sampling,
    find_option,
    nearest_option,
    option_named,
)
from oprel.runtime.backends.dialect import Dialect
from oprel.runtime.backends.engines.llama_cpp import resolve
from oprel.runtime.backends.openai import http as openai_http
from oprel.server.api.common import decode

PLAIN = Manifest(name="tiny:latest", weights=Path("/tiny.gguf"))
EXAMPLES: dict[OptionType, JsonValue] = {
    OptionType.INTEGER: 99,
    OptionType.FLOAT: 0.5,
    OptionType.BOOLEAN: False,
    OptionType.TEXTS: ["."],
}
PYTHON_TYPES: dict[OptionType, object] = {
    OptionType.INTEGER: int | None,
    OptionType.FLOAT: float | None,
    OptionType.BOOLEAN: bool | None,
    OptionType.TEXTS: Sequence[str] | None,
}
LOAD_NAMES = [name for name, row in OPTIONS.items() if row.for_loading]


def example(row: RequestOption) -> JsonValue:
    return EXAMPLES[row.type]


def typed(row: RequestOption) -> str:
    value = example(row)
    return str(value[0] if isinstance(value, list) else value).lower()


every_option = pytest.mark.parametrize("row", OPTIONS.values(), ids=OPTIONS)


@every_option
def test_an_option_has_a_meaning_and_a_name_of_its_own(row: RequestOption) -> None:
    assert row.meaning
    assert list(ALL_NAMES.values()).count(row.name) == 1 + len(row.other_names)
    assert row.name not in UNSUPPORTED


def test_other_names_mean_one_option_each() -> None:
    names = [name for row in OPTIONS.values() for name in (row.name, *row.other_names)]
    assert len(names) == len(set(names))


@every_option
def test_the_daemon_decodes_every_option(row: RequestOption) -> None:
    sampling, load = decode.options({row.name: example(row)}, {})
    value = getattr(load if row.for_loading else sampling, row.name)
    assert value == (tuple(EXAMPLES[row.type]) if row.type is OptionType.TEXTS else example(row))  # type: ignore[arg-type]


def test_the_daemon_decodes_no_other() -> None:
    fields = {entry.name for kind in (Sampling, LoadOptions) for entry in dataclasses.fields(kind)}
    assert fields == OPTIONS.keys()
    assert decode.options(dict.fromkeys(UNSUPPORTED, 1), {}) == (Sampling(), LoadOptions())


def test_options_of_the_client_are_those_of_the_table_with_their_types() -> None:
    fields = {name: entry.annotation for name, entry in oprel.Options.model_fields.items()}
    assert fields == {name: PYTHON_TYPES[row.type] for name, row in OPTIONS.items()}


@every_option
def test_every_option_is_set_in_a_conversation_and_on_the_command_line(row: RequestOption) -> None:
    session, said = change(Session("tiny"), f"parameter {row.name} {typed(row)}")
    assert session.options == {row.name: example(row)}
    assert said.startswith(f"{row.name} is now ")
    assert option(f"{row.name}={typed(row)}") == (row.name, example(row))


def test_a_conversation_completes_and_explains_exactly_the_options() -> None:
    assert candidates("/set parameter ", list) == [*OPTIONS]
    assert [line.split()[0] for line in help_on("parameters").splitlines()[1:]] == [*OPTIONS]


@every_option
def test_every_option_is_a_parameter_of_a_modelfile(row: RequestOption) -> None:
    assert parse(f"FROM a\nPARAMETER {row.name} {typed(row)}").parameters == {row.name: example(row)}


def test_a_modelfile_may_repeat_only_options_of_several_texts() -> None:
    assert TEXTS == tuple(name for name, row in OPTIONS.items() if row.type is OptionType.TEXTS)


@pytest.mark.parametrize("row", SAMPLING_OPTIONS, ids=lambda row: row.name)
def test_an_option_of_a_request_reaches_the_engine_under_its_name_there(row: RequestOption) -> None:
    sampling, _ = decode.options({row.name: example(row)}, {})
    body = openai_http.encode_completion(CompletionRequest("hello", sampling))
    expected = {row.engine_name: getattr(sampling, row.name)} if row.is_for_engines else {}
    assert {name: value for name, value in body.items() if name == row.engine_name} == expected


def test_the_engine_has_other_names_for_two_options_only() -> None:
    renamed = {row.name: row.engine_name for row in OPTIONS.values() if row.name != row.engine_name}
    assert renamed == {"num_predict": "max_tokens", "num_keep": "n_keep"}


def test_engines_of_other_dialects_get_only_what_openai_has() -> None:
    sampling, _ = decode.options({row.name: example(row) for row in SAMPLING_OPTIONS}, {})
    body = openai_http.encode_completion(CompletionRequest("hello", sampling))
    names = {row.engine_name for row in SAMPLING_OPTIONS}
    kept = Dialect().completion("/v1/completions", body).body.keys() & names  # type: ignore[arg-type]
    assert kept == {row.engine_name for row in SAMPLING_OPTIONS if row.in_openai}
    assert kept == {"temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "max_tokens", "stop"}


@pytest.mark.parametrize("name", LOAD_NAMES)
def test_an_option_for_loading_decides_whether_an_engine_serves(name: str) -> None:
    wanted = LoadOptions(**{name: example(OPTIONS[name])})  # type: ignore[arg-type]
    assert wanted.served_by(wanted)
    assert not wanted.served_by(LoadOptions())
    assert LoadOptions().served_by(wanted)
    settings = oprel.core.config.Config().for_model("tiny")
    assert getattr(resolve(wanted, settings, None), name) == example(OPTIONS[name])


def test_requests_export_the_types_of_the_table() -> None:
    assert (completion.Sampling, completion.LoadOptions) == (Sampling, LoadOptions)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        *(("temprature", "temperature"), ("Top_K", "top_k"), ("numctx", "num_ctx"), ("stops", "stop")),
        *(("n_ctx", "num_ctx"), ("gpu_layers", "num_gpu"), ("max_token", "num_predict"), ("colour", None), ("", None)),
    ],
)
def test_the_nearest_option_is_the_one_spelled_alike_or_meant_by_another_name(name: str, nearest: str | None) -> None:
    assert nearest_option(name) == nearest


def test_an_unknown_option_is_named_with_the_nearest() -> None:
    with pytest.raises(ValidationError) as caught:
        find_option("temprature")
    assert caught.value.message == "unknown option 'temprature'; did you mean 'temperature'?"


def test_an_option_like_no_other_is_answered_with_all() -> None:
    with pytest.raises(ValidationError, match="(?m)^unknown option 'colour'$") as caught:
        find_option("colour")
    assert all(name in caught.value.resolution_steps[0] for name in OPTIONS)


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
def test_an_option_of_ollama_only_is_not_supported_rather_than_unknown(name: str) -> None:
    with pytest.raises(ValidationError, match=f"^option '{name}' is not supported"):
        find_option(name)


@pytest.mark.parametrize(("name", "option"), ALL_NAMES.items())
def test_an_option_is_found_by_each_of_its_names(name: str, option: str) -> None:
    assert option_named(name) is OPTIONS[option]
