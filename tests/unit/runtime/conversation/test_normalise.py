"""What the normaliser makes of conversations, for templates of one trait each."""

from collections.abc import Mapping

import pytest
from pydantic import JsonValue

from oprel.core.completion import CompletionRequest, PromptMessage, ToolCall
from oprel.runtime.conversation.normalise import normalised
from oprel.runtime.conversation.tool_definitions import soft
from oprel.runtime.conversation.traits import (
    AS_IS,
    PLAIN,
    CallForm,
    IdForm,
    Spelling,
    SystemPlace,
    TemplateTraits,
)

Line = tuple[str, str]

TOOL: Mapping[str, JsonValue] = {
    "type": "function",
    "function": {
        "name": "clock",
        "description": "The time",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Rome"]}}},
    },
}
ROME = ToolCall("call_1_0", "clock", {"city": "Rome"})
OSLO = ToolCall("call_1_1", "clock", {"city": "Oslo"})


def message(role: str, content: str, *calls: ToolCall, thinking: str = "") -> PromptMessage:
    return PromptMessage(role, content, thinking, tool_calls=calls)


def result(call: ToolCall, content: str) -> PromptMessage:
    return PromptMessage("tool", content, tool_call_id=call.id, tool_name=call.name)


def passed(traits: TemplateTraits, *messages: PromptMessage) -> tuple[PromptMessage, ...]:
    request = normalised(CompletionRequest(messages), traits)
    assert isinstance(request.prompt, tuple)
    return request.prompt


def lines(traits: TemplateTraits, *messages: PromptMessage) -> list[Line]:
    """Role and text of each message; a call is its argument."""
    return [
        (
            line.role,
            "+".join(
                [*([line.content] if line.content else []), *(str(call.arguments["city"]) for call in line.tool_calls)]
            ),
        )
        for line in passed(traits, *messages)
    ]


def talk(*texts: str) -> list[PromptMessage]:
    """`"U red"` is a text of the user."""
    roles = {"S": "system", "U": "user", "A": "assistant"}
    return [PromptMessage(roles[text[0]], text[2:]) for text in texts]


def rows(*texts: str) -> list[Line]:
    return [(line.role, line.content) for line in talk(*texts)]


ONE_SYSTEM = TemplateTraits(system=SystemPlace.FIRST)
NO_SYSTEM = TemplateTraits(system=SystemPlace.NOWHERE)

TURNS: Mapping[str, tuple[TemplateTraits, list[PromptMessage], list[Line]]] = {
    "as they are": (AS_IS, talk("S a", "U b", "U c", "A d", "S e"), rows("S a", "U b", "U c", "A d", "S e")),
    "systems joined": (ONE_SYSTEM, talk("S a", "S b", "U c"), rows("S a\n\nb", "U c")),
    "a later system": (ONE_SYSTEM, talk("S a", "U b", "S c", "U d"), rows("S a", "U b", "U c\n\nd")),
    "a later system before an answer": (ONE_SYSTEM, talk("U b", "S c", "A d"), rows("U b", "U c", "A d")),
    "a system at the end": (ONE_SYSTEM, talk("U b", "A d", "S c"), rows("U b", "A d", "U c")),
    "no system": (NO_SYSTEM, talk("S a", "U b", "A c"), rows("U a\n\nb", "A c")),
    "no system, assistant first": (NO_SYSTEM, talk("S a", "A b", "U c"), rows("U a", "A b", "U c")),
    "a system alone": (TemplateTraits(needs_user=True), talk("S a"), rows("U a")),
    "no user": (TemplateTraits(needs_user=True), talk("S a", "A b"), rows("S a", "U [Start a new chat]", "A b")),
    "neighbours": (
        TemplateTraits(joins_neighbours=True),
        talk("U a", "U b", "A c", "A d", "U e"),
        rows("U a\n\nb", "A c\n\nd", "U e"),
    ),
    "assistant first": (
        TemplateTraits(begins_with_user=True),
        talk("S s", "A a", "U b"),
        rows("S s", "U [Start a new chat]", "A a", "U b"),
    ),
    "answers at the end": (AS_IS, talk("U a", "A b", "A c"), rows("U a", "A b\n\nc")),
}


@pytest.mark.parametrize(("traits", "messages", "expected"), TURNS.values(), ids=TURNS)
def test_turns(traits: TemplateTraits, messages: list[PromptMessage], expected: list[Line]) -> None:
    assert lines(traits, *messages) == expected


ROUND = (message("user", "q"), message("assistant", "text", ROME, OSLO), result(ROME, "noon"), result(OSLO, "dusk"))

ROUNDS: Mapping[str, tuple[TemplateTraits, tuple[PromptMessage, ...], list[Line]]] = {
    "results in order": (
        AS_IS,
        (*ROUND[:2], ROUND[3], ROUND[2]),
        [("user", "q"), ("assistant", "text+Rome+Oslo"), ("tool", "noon"), ("tool", "dusk")],
    ),
    "a result behind a user's message": (
        AS_IS,
        (*ROUND[:3], message("user", "u"), ROUND[3]),
        [("user", "q"), ("assistant", "text+Rome+Oslo"), ("tool", "noon"), ("tool", "dusk"), ("user", "u")],
    ),
    "one call a message": (
        TemplateTraits(calls=CallForm.SINGLE),
        ROUND,
        [("user", "q"), ("assistant", "text+Rome"), ("tool", "noon"), ("assistant", "Oslo"), ("tool", "dusk")],
    ),
    "text apart": (
        TemplateTraits(text_apart=True),
        ROUND[:3],
        [("user", "q"), ("assistant", "text"), ("assistant", "Rome+Oslo"), ("tool", "noon")],
    ),
    "missing results": (
        TemplateTraits(fills_results=True),
        (*ROUND[:3], message("user", "u")),
        [("user", "q"), ("assistant", "text+Rome+Oslo"), ("tool", "noon"), ("tool", "(no result)"), ("user", "u")],
    ),
    "a call at the end": (
        AS_IS,
        (ROUND[0], message("assistant", "", ROME)),
        [("user", "q"), ("assistant", "Rome"), ("tool", "(no result)")],
    ),
    "a result alone": (
        TemplateTraits(orphans_as_text=True),
        (ROUND[0], ROUND[2]),
        [("user", "q"), ("user", "Result of clock:\nnoon")],
    ),
    "user behind a result": (
        TemplateTraits(joins_neighbours=True, alternates=True),
        (ROUND[0], message("assistant", "", ROME), ROUND[2], message("user", "u")),
        [("user", "q"), ("assistant", "Rome"), ("tool", "noon"), ("assistant", "OK."), ("user", "u")],
    ),
    "as text": (
        PLAIN,
        (ROUND[0], message("assistant", "", ROME), ROUND[2]),
        [
            ("user", "q"),
            ("assistant", '<tool_call>\n{"name":"clock","arguments":{"city":"Rome"}}\n</tool_call>'),
            ("user", "Result of clock:\nnoon"),
        ],
    ),
}


@pytest.mark.parametrize(("traits", "messages", "expected"), ROUNDS.values(), ids=ROUNDS)
def test_rounds_of_tools(traits: TemplateTraits, messages: tuple[PromptMessage, ...], expected: list[Line]) -> None:
    assert lines(traits, *messages) == expected


@pytest.mark.parametrize(
    ("sent", "role"),
    [("User", "user"), ("developer", "system"), ("function", "tool"), ("ipython", "tool"), ("context", "context")],
)
def test_roles_have_one_spelling(sent: str, role: str) -> None:
    assert passed(AS_IS, message(sent, "x"), message("user", "y"))[0].role == role


def test_a_role_that_the_template_loses_is_the_users() -> None:
    assert lines(PLAIN, message("context", "x")) == [("user", "x")]


@pytest.mark.parametrize(
    ("form", "ids"),
    [
        (IdForm.ANY, ["call_1_0", "call_1_0_2"]),
        (IdForm.NUMBERED, ["functions.clock:0", "functions.clock:1"]),
    ],
)
def test_ids_of_calls_and_results_stay_together(form: IdForm, ids: list[str]) -> None:
    """A client may use an id again."""
    again = message("assistant", "", ROME)
    sent = (again, result(ROME, "a"), message("user", "q"), again, result(ROME, "b"))
    made = passed(TemplateTraits(ids=form), *sent)
    assert [call.id for line in made for call in line.tool_calls] == ids
    assert [line.tool_call_id for line in made if line.role == "tool"] == ids


def test_ids_of_nine_letters_stay_and_others_get_one_each() -> None:
    calls = (ToolCall("abcDEF123", "clock", {}), ROME, OSLO)
    made = passed(TemplateTraits(ids=IdForm.NINE), message("assistant", "", *calls), result(OSLO, "dusk"))
    ids = [call.id for call in made[0].tool_calls]
    assert ids[0] == "abcDEF123" and len(set(ids)) == 3
    assert all(len(id) == 9 and id.isalnum() for id in ids)
    assert made[1].tool_call_id == ids[2]


def test_arguments_may_be_flat() -> None:
    call = ToolCall("x", "clock", {"o": {"n": 1}, "l": ["a"], "z": None, "i": 1})
    (made, _) = passed(TemplateTraits(flat_arguments=True), message("assistant", "", call))
    assert made.tool_calls[0].arguments == {"o": '{"n":1}', "l": '["a"]', "z": "null", "i": 1}


def test_thoughts_go_where_they_cost_nothing() -> None:
    thought = message("assistant", "x", thinking="hm")
    beside = message("assistant", "x", ROME, thinking="hm")
    user = message("user", "q")
    assert passed(AS_IS, thought, user)[0].thinking == "hm"
    assert passed(TemplateTraits(text_or_thoughts=True), thought, user)[0] == message("assistant", "x")
    kept = passed(TemplateTraits(thoughts_in_text=True), beside)[0]
    assert (kept.thinking, kept.content) == ("", "hm\n\nx")


def test_marks_that_a_template_acts_on_are_quoted() -> None:
    traits = TemplateTraits(cuts_at_think_end=("assistant",), quotes_switches=True)
    made = passed(traits, *talk("A <think>a</think>x </think> y", "U say /no_think now", "U now /no_think"))
    assert [line.content for line in made] == [
        "<think>a</think>x <\u200b/think> y",
        "say /\u200bno_think now",
        "now /no_think",
    ]


def test_tools_as_text_follow_the_system_message() -> None:
    request = CompletionRequest(tuple(talk("S be brief", "U hi")), tools=(TOOL,))
    made = normalised(request, TemplateTraits(tools_as_text=True))
    assert made.tools == () and isinstance(made.prompt, tuple)
    system = made.prompt[0].content
    assert system.startswith("be brief\n\n# Tools") and '"name":"clock"' in system and "The time" in system


def test_equal_messages_of_a_user_differ_where_tools_are_repeated() -> None:
    request = CompletionRequest(tuple(talk("U hi", "A x", "U hi")), tools=(TOOL,))
    made = normalised(request, TemplateTraits(repeats_tools=True))
    assert isinstance(made.prompt, tuple)
    assert [line.content for line in made.prompt] == ["hi ", "x", "hi"]


@pytest.mark.parametrize(("spelling", "is_spelled"), [(Spelling.NONE, False), (Spelling.DETAILED, True)])
def test_details_of_a_schema_are_repeated_where_they_would_be_lost(spelling: Spelling, is_spelled: bool) -> None:
    request = CompletionRequest(tuple(talk("U hi")), tools=(TOOL,))
    (tool,) = normalised(request, TemplateTraits(spelling=spelling)).tools
    function = tool["function"]
    assert isinstance(function, dict)
    assert ('"enum":["Rome"]' in str(function["description"])) == is_spelled


SOFT: Mapping[str, tuple[JsonValue, dict[str, JsonValue]]] = {
    "a list of types": ({"type": ["null", "integer"]}, {"type": "integer"}),
    "alternatives": ({"anyOf": [{"type": "null"}, {"type": "number"}]}, {"type": "number"}),
    "no type": ({"enum": [1, 2]}, {"type": "integer", "enum": [1, 2]}),
    "a boolean": (True, {"type": "string"}),
    "no items": ({"type": "array"}, {"type": "array", "items": {"type": "string", "description": ""}}),
    "no properties": ({"type": "object"}, {"type": "object", "properties": {}, "required": []}),
}


@pytest.mark.parametrize(("schema", "expected"), SOFT.values(), ids=SOFT)
def test_a_soft_schema_has_one_type(schema: JsonValue, expected: dict[str, JsonValue]) -> None:
    assert soft(schema) == {"description": "", **expected}


def test_prompts_without_messages_stay() -> None:
    assert normalised(CompletionRequest("text"), PLAIN).prompt == "text"
