import json
from dataclasses import replace
from pathlib import Path

import pytest

from oprel.api_models import ModelDetails, OllamaMessage, OllamaShowResponse
from oprel.cli.conversation.session import (
    SETTINGS,
    Session,
    change,
    dump,
    is_open,
    load,
    loaded,
    option,
    unquoted,
)
from oprel.core.exceptions import ValidationError
from oprel.core.request_options import OPTIONS, UNSUPPORTED, OptionType

START = Session("tiny")
HELLO, REPLY = OllamaMessage(role="user", content="hello"), OllamaMessage(role="assistant", content="hi")


def after(text: str, start: Session = START) -> Session:
    return change(start, text)[0]


def refusal(text: str) -> str:
    with pytest.raises(ValidationError) as raised:
        change(START, text)
    return " ".join([raised.value.message, *raised.value.resolution_steps])


def known(*capabilities: str, messages: list[OllamaMessage] | None = None) -> OllamaShowResponse:
    return OllamaShowResponse(
        modelfile="",
        details=ModelDetails(),
        messages=messages,
        model_info={},
        capabilities=["completion", *capabilities],
        modified_at="",
    )


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("temperature 0.2", "temperature", 0.2),
        ("temperature 1", "temperature", 1.0),
        ("num_ctx  8192", "num_ctx", 8192),
        ("seed -1", "seed", -1),
        ("use_mmap false", "use_mmap", False),
        ('stop "<|end of text|>" User:', "stop", ["<|end of text|>", "User:"]),
        ("stop ###", "stop", ["###"]),
    ],
)
def test_a_parameter_is_set_with_its_type(text: str, name: str, value: object) -> None:
    assert after(f"parameter {text}").options == {name: value}


def test_a_parameter_is_added_to_the_others_and_replaced_by_itself() -> None:
    session = after("parameter seed 2", after("parameter top_k 5", after("parameter seed 1")))
    assert session.options == {"seed": 2, "top_k": 5}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("parameter", "needs a name and a value"),
        ("parameter seed", "seed needs a value"),
        ("parameter seed 1 2", "one value, not 2"),
        ("parameter seed x", "a whole number, not 'x'"),
        ("parameter seed 1.5", "a whole number"),
        ("parameter temperature warm", "a number, not 'warm'"),
        ("parameter temperature nan", "a number"),
        ("parameter temperature inf", "a number"),
        ("parameter use_mmap maybe", "true or false"),
        ("parameter num_ctx 3", "num_ctx must be at least 4, not 3"),
        ("parameter temprature 1", "unknown option 'temprature'; did you mean 'temperature'?"),
        ("parameter n_gpu_layers 1", "did you mean 'num_gpu'?"),
        ("parameter colour 1", "unknown option 'colour' The options are "),
        ("parameter draft_num_predict 4", "option 'draft_num_predict' is not supported: Ollama has it"),
        ('parameter stop "a', "quotes"),
        ("think hard", "low, medium, high"),
        ("format yaml", "neither `json` nor a schema"),
        ("format {", "the format { is not JSON"),
        ("verbos", "Did you mean `verbose`?"),
        ("", "needs a setting"),
    ],
)
def test_what_is_wrong_is_said_at_once(text: str, said: str) -> None:
    assert said in refusal(text)


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("system Be brief.", {"system": "Be brief."}),
        ('system """Be\nbrief."""', {"system": "Be\nbrief."}),
        ("format json", {"format": "json"}),
        ('format {"type": "object"}', {"format": {"type": "object"}}),
        ("think", {"think": True}),
        ("think high", {"think": "high"}),
        ("nothink", {"think": False}),
        ("verbose", {"verbose": True}),
        ("nowordwrap", {"wordwrap": False}),
        ("nohistory", {"history": False}),
    ],
)
def test_a_setting_changes_itself_and_nothing_else(text: str, changes: dict) -> None:
    assert after(text) == replace(START, **changes)


@pytest.mark.parametrize(
    ("there", "back"),
    [("verbose", "quiet"), ("nowordwrap", "wordwrap"), ("nohistory", "history"), ("format json", "noformat")],
)
def test_a_setting_can_be_taken_back(there: str, back: str) -> None:
    assert after(back, after(there)) == START


def test_a_schema_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text('{"type": "object"}')
    assert after(f"format {tmp_path}/schema.json").format == {"type": "object"}
    (tmp_path / "list.json").write_text("[]")
    assert "not a JSON object" in refusal(f"format {tmp_path}/list.json")


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_says_what_it_did(name: str) -> None:
    words = {"parameter": "seed 1", "format": "json", "system": "x"}
    assert change(START, f"{name} {words.get(name, '')}")[1].endswith(".")


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_can_be_set(name: str) -> None:
    value = "true" if OPTIONS[name].type is OptionType.BOOLEAN else 99
    assert after(f"parameter {name} {value}").options.keys() == {name}
    assert option(f"{name}={value}")[0] == name


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
def test_an_option_without_effect_is_not_set(name: str) -> None:
    assert "is not supported" in refusal(f"parameter {name} 1")
    with pytest.raises(ValidationError, match=f"^option '{name}' is not supported"):
        option(f"{name}=1")


def test_an_option_is_name_and_value() -> None:
    assert option("temperature=0.5") == ("temperature", 0.5)
    assert option("stop=a=b") == ("stop", ["a=b"])
    with pytest.raises(ValidationError, match="NAME=VALUE"):
        option("temperature")
    with pytest.raises(ValidationError, match="unknown option 'temprature'; did you mean 'temperature'"):
        option("temprature=1")


@pytest.mark.parametrize(
    ("text", "waits"),
    [
        ("hello", False),
        ('"""', True),
        ('"""one\ntwo', True),
        ('"""one\ntwo"""', False),
        ('""""""', False),
        ('""""', True),
        ('  """one', True),
        ('say """this', False),
        ('/set system """one', True),
        ('/set system """one"""', False),
        ("/set system one", False),
    ],
)
def test_a_message_in_triple_quotes_waits_for_their_end(text: str, waits: bool) -> None:
    assert is_open(text) is waits


def test_triple_quotes_are_not_part_of_the_message() -> None:
    assert unquoted('"""\none\ntwo\n"""') == "one\ntwo"
    assert unquoted('"""one') == "one"
    assert unquoted('say "one"') == 'say "one"'


def test_the_conversation_goes_on_with_another_model() -> None:
    session = loaded(replace(START, messages=(HELLO, REPLY)), "other", known())
    assert (session.model, session.messages, session.saved) == ("other", (HELLO, REPLY), ())


def test_a_saved_conversation_takes_the_place_of_this_one_and_is_not_sent_twice() -> None:
    session = loaded(replace(START, messages=(HELLO,)), "saved", known(messages=[HELLO, REPLY]))
    assert (session.messages, session.saved) == ((), (HELLO, REPLY))
    assert session.request == []


def test_a_saved_conversation_goes_on_with_a_model_that_does_not_have_it() -> None:
    session = loaded(replace(START, saved=(HELLO,), messages=(REPLY,)), "other", known())
    assert (session.messages, session.saved) == ((HELLO, REPLY), ())


def test_a_model_that_cannot_think_is_not_asked_to() -> None:
    thinking = replace(START, think="high")
    assert loaded(thinking, "other", known()).think is None
    assert loaded(thinking, "other", known("thinking")).think == "high"
    assert loaded(replace(START, think=False), "other", known()).think is False


def test_the_system_message_goes_first() -> None:
    session = replace(START, system="Be brief.", messages=(HELLO,))
    assert [message.content for message in session.request] == ["Be brief.", "hello"]


def test_a_conversation_that_is_written_down_can_be_read_again() -> None:
    kept = replace(START, system="Be brief.", options={"seed": 1}, messages=(HELLO, REPLY))
    assert load(dump(kept), Session("")) == kept


def test_what_is_asked_for_now_beats_what_was_written_down() -> None:
    now = Session("other", system="Be long.", options={"seed": 2})
    kept = replace(START, system="Be brief.", options={"seed": 1, "top_k": 3}, saved=(HELLO,), messages=(REPLY,))
    assert load(dump(kept), now) == replace(now, options={"seed": 2, "top_k": 3}, messages=(HELLO, REPLY))


def test_what_was_saved_with_the_model_is_not_written_down_as_ours() -> None:
    kept = replace(START, saved=(HELLO,), messages=(REPLY,))
    read = load(dump(kept), Session(""))
    assert read == replace(START, messages=(REPLY,))
    assert loaded(read, "tiny", known(messages=[HELLO])) == kept


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"model": 1}', b"\xff", json.dumps({"model": "x"}).encode()])
def test_a_damaged_conversation_is_told(content: bytes) -> None:
    with pytest.raises(ValidationError, match="cannot be read"):
        load(content, START)
