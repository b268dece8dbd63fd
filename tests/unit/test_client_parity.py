"""`Client` and `AsyncClient` are written twice, and both after Ollama's; here is what keeps the four equal."""

import inspect
import pydoc
import typing
from collections.abc import Callable
from operator import attrgetter

import ollama
import pytest

import oprel
from oprel import AsyncClient, Client
from oprel import api_models as wire
from oprel.client.calls import ChatExtras, GenerateExtras
from oprel.client.types import OptionArguments
from oprel.core.request_options import ALL_NAMES

# No functions of the module.
OF_A_CLIENT_ONLY = {
    *("clear_quarantine", "close", "crash", "crashes", "engines", "health", "logs", "quarantine"),
    *("download", "downloads", "download_status", "pause_download", "resume_download", "cancel_download"),
    *("library", "remove", "import_model", "cache", "verify_cache", "clear_cache"),
}
BOTH = [Client, AsyncClient]
# Ollama's services in the internet, and an engine of its own that nothing here has.
OF_OLLAMA_ONLY = {"web_search", "web_fetch", "systemone"}


def methods(cls: type) -> dict[str, Callable[..., object]]:
    members = inspect.getmembers(cls, inspect.isfunction)
    return {name: method for name, method in members if not name.startswith("_")}


def parameters(method: Callable[..., object]) -> list[inspect.Parameter]:
    return list(inspect.signature(method).parameters.values())


def keywords(method: Callable[..., object]) -> set[str]:
    """Names of a method's keyword-only arguments."""
    return {one.name for one in parameters(method) if one.kind is one.KEYWORD_ONLY}


def types_of(method: Callable[..., object], *, but: str) -> dict[str, object]:
    return {one.name: one.annotation for one in parameters(method) if one.name not in ("self", but)}


def positional(method: Callable[..., object]) -> list[inspect.Parameter]:
    return [one for one in parameters(method) if one.kind is one.POSITIONAL_OR_KEYWORD]


def public(cls: type) -> list[str]:
    return [name for name in dir(cls) if not name.startswith("_")]


def test_both_clients_have_the_same_names() -> None:
    assert public(Client) == public(AsyncClient)


@pytest.mark.parametrize("name", methods(Client))
def test_a_method_takes_and_says_the_same_in_both(name: str) -> None:
    one, other = methods(Client)[name], methods(AsyncClient)[name]
    assert parameters(one) == parameters(other)
    assert one.__doc__ == other.__doc__ is not None
    assert inspect.iscoroutinefunction(other)


@pytest.mark.parametrize("name", methods(Client))
def test_a_methods_overloads_are_the_same_in_both(name: str) -> None:
    one, other = (typing.get_overloads(methods(cls)[name]) for cls in BOTH)
    assert [parameters(overload) for overload in one] == [parameters(overload) for overload in other]
    assert bool(one) == ("stream" in inspect.signature(methods(Client)[name]).parameters)


OVERLOADED = [(cls, name) for cls in BOTH for name in ("chat", "create", "generate", "pull", "push")]


@pytest.mark.parametrize(("cls", "name"), [*OVERLOADED, (oprel.Model, "chat"), (oprel.Model, "generate")])
def test_overloads_spell_out_all_arguments_and_are_told_apart_by_stream_alone(cls: type, name: str) -> None:
    method = methods(cls)[name]
    overloads = typing.get_overloads(method)
    assert [inspect.signature(overload).parameters["stream"].default for overload in overloads] == [
        *(False, inspect.Parameter.empty)
    ]
    for overload in overloads:
        assert types_of(overload, but="stream") == types_of(method, but="stream")
        assert [one.name for one in positional(overload)] == [one.name for one in positional(method)]


@pytest.mark.parametrize(("name", "extras"), [("chat", ChatExtras), ("generate", GenerateExtras)])
def test_help_shows_each_argument_of_the_table(name: str, extras: type) -> None:
    for function in (getattr(oprel, name), *(getattr(cls, name) for cls in (*BOTH, oprel.Model))):
        shown = pydoc.plain(pydoc.render_doc(function)).split("\n\n")[1]
        assert [one for one in extras.__annotations__ if f" {one}: " not in shown] == []
        assert "**" not in shown


@pytest.mark.parametrize(
    ("request_type", "extras", "named"),
    [
        (wire.ChatRequest, ChatExtras, {"model", "messages", "stream"}),
        (wire.GenerateRequest, GenerateExtras, {"model", "prompt", "suffix", "stream"}),
    ],
)
def test_each_field_of_a_request_is_an_argument(request_type: type[wire.Wire], extras: type, named: set[str]) -> None:
    assert request_type.model_fields.keys() - {"debug_render_only"} <= named | extras.__annotations__.keys()


def test_the_settings_of_a_model_are_the_options_under_each_name() -> None:
    fields = oprel.Options.model_fields
    assert OptionArguments.__annotations__ == {name: fields[own].annotation for name, own in ALL_NAMES.items()}
    assert keywords(oprel.Model.__init__) >= ALL_NAMES.keys()


def test_the_modules_functions_are_a_clients_methods() -> None:
    functions = {name for name in oprel.__all__ if inspect.ismethod(getattr(oprel, name))}
    assert functions == methods(Client).keys() - OF_A_CLIENT_ONLY
    assert all(getattr(oprel, name).__func__ is methods(Client)[name] for name in functions)
    assert len({id(getattr(oprel, name).__self__) for name in functions}) == 1


THEIRS = [
    pytest.param(getattr(oprel, cls), name, method, id=f"{cls}.{name}")
    for cls in ("Client", "AsyncClient")
    for name, method in methods(getattr(ollama, cls)).items()
    if name not in OF_OLLAMA_ONLY
]


@pytest.mark.parametrize(("cls", "name", "theirs"), THEIRS)
def test_a_method_of_ollamas_client_takes_the_same_here(cls: type, name: str, theirs: Callable[..., object]) -> None:
    ours = methods(cls)[name]
    given = [(one.name, one.default) for one in positional(theirs)]
    assert [(one.name, one.default) for one in positional(ours)][: len(given)] == given
    assert keywords(ours) >= keywords(theirs)
    assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(theirs)


def test_what_ollamas_package_offers_is_here_under_the_same_name() -> None:
    cloud = ("SystemOne", "WebFetch", "WebSearch")
    functions = {name for name, one in vars(ollama).items() if inspect.ismethod(one)} - OF_OLLAMA_ONLY
    types = {name for name in ollama.__all__ if not name.startswith(cloud)}
    assert {"chat", "Message"} <= functions | types <= set(oprel.__all__)


# Fields of its answers that it never fills, pictures that nothing here makes, and options that no engine knows any more
# (which may be given all the same).
LACKING = {
    "EmbedResponse": {"created_at", "done", "done_reason", "prompt_eval_duration", "eval_count", "eval_duration"},
    "GenerateResponse": {"completed", "image", "total"},
    "Options": {"embedding_only", "f16_kv", "logits_all", "low_vram", "mirostat", "mirostat_eta", "mirostat_tau"}
    | {"numa", "penalize_newline", "tfs_z", "use_mlock", "vocab_only"},
}


@pytest.mark.parametrize(
    "name",
    [
        *("ChatResponse", "EmbedResponse", "EmbeddingsResponse", "GenerateResponse", "ProgressResponse"),
        *("ShowResponse", "StatusResponse", "ListResponse", "ListResponse.Model", "ProcessResponse"),
        *("ProcessResponse.Model", "Image", "Message", "Message.ToolCall", "Message.ToolCall.Function", "Options"),
        *("Tool", "Tool.Function", "Tool.Function.Parameters", "Tool.Function.Parameters.Property"),
    ],
)
def test_a_type_of_ollamas_has_its_fields_here(name: str) -> None:
    theirs, ours = attrgetter(name)(ollama), attrgetter(name)(oprel)
    lacking = {field for field in theirs.model_fields.keys() - ours.model_fields.keys() if not hasattr(ours, field)}
    assert lacking == LACKING.get(name, set())


def test_an_option_of_old_may_be_given() -> None:
    assert oprel.Options.model_validate({"mirostat": 1}).model_dump(exclude_none=True) == {"mirostat": 1}
