"""Types that only clients have."""

import pytest

import oprel
from oprel.client.types import Image, Message, Options, RequestError, Tool, options_set


def test_only_options_with_a_value_count() -> None:
    assert options_set(Options(seed=0, stop=[])) == {"seed": 0, "stop": []}
    assert options_set({"seed": None}) == {"seed": None}
    assert options_set(None) == {}


def test_a_field_can_be_set_like_an_attribute_or_an_item() -> None:
    message = Message(role="user")
    message["content"] = "hello"
    assert (message.content, message["content"]) == ("hello", "hello")


def test_the_parts_of_a_tool_call_have_the_names_of_ollamas_client() -> None:
    function = Message.ToolCall.Function(name="add", arguments={"a": 1})
    message = Message(role="assistant", tool_calls=[Message.ToolCall(function=function)])
    assert message["tool_calls"][0]["function"]["arguments"] == {"a": 1}


def test_a_tool_keeps_what_a_schema_may_say() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}, "additionalProperties": False}
    described = {"type": "function", "function": {"name": "add", "parameters": schema}}
    assert Tool.model_validate(described).model_dump(exclude_none=True, by_alias=True) == described


def test_a_picture_as_text_of_its_bytes_stays_as_it_is() -> None:
    text = "iVBORw0K" * 2000  # too long for the name of a file
    assert Image(value=text).base64() == text
    with pytest.raises(RequestError, match="neither a file nor base64"):
        Image(value="nul\0nul").base64()


def test_errors_have_the_names_of_ollamas_client() -> None:
    with pytest.raises(oprel.ResponseError) as caught:
        raise oprel.ModelNotFoundError("no such model")
    assert (caught.value.error, caught.value.status_code) == ("no such model", 404)
