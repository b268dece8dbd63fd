"""Small conversations that show what a chat template does, and the traits that mend what it does wrong.

Each row is a conversation, and choices of traits in order of preference. The first with which it renders completely is
the template's. Rows build on those before them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from oprel.core.completion import PromptMessage, ToolCall
from oprel.runtime.conversation.tool_definitions import Definition
from oprel.runtime.conversation.traits import CallForm, IdForm, Spelling, SystemPlace

Change = Mapping[str, object]

SHORT_IDS = ("aaaaaaaa1", "aaaaaaaa2", "aaaaaaaa3")  # which every template takes
LONG_IDS = ("call_1_0", "call_PTLP8xhu3uwZk4l3nlnrrJha", "toolu_01A09q90qw90lq917835lq9")

KEPT: Change = {}
ONE_SYSTEM: Change = {"system": SystemPlace.FIRST}
NO_SYSTEM: Change = {"system": SystemPlace.NOWHERE}
JOINED: Change = {"joins_neighbours": True}
ALTERNATING: Change = {"joins_neighbours": True, "alternates": True}
AS_TEXT: Change = {"calls": CallForm.TEXT, "orphans_as_text": True}
ALL_AS_TEXT: Change = {"tools_as_text": True, **AS_TEXT}


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A conversation, and choices of traits. `tools` replace the usual ones where tools are given.

    It renders completely if all texts are in order, and, where set: the assistant's turn is open at the end (`opens`);
    thoughts are there too; the second call is opened like an only one (`even`); the tools are in the prompt as often as
    in the first one with tools (`tools_once`); and the prompt has `words`, however quoted.
    """

    messages: tuple[PromptMessage, ...]
    choices: tuple[Change, ...]
    tools: tuple[Definition, ...] = ()
    opens: bool = False
    thoughts: bool = False
    words: tuple[str, ...] = ()
    even: bool = False
    tools_once: bool = False


def _user(text: str) -> PromptMessage:
    return PromptMessage("user", text)


def _assistant(text: str, thinking: str = "") -> PromptMessage:
    return PromptMessage("assistant", text, thinking)


def _system(text: str) -> PromptMessage:
    return PromptMessage("system", text)


def _call(*numbers: int, text: str = "", thinking: str = "", ids: Sequence[str] = SHORT_IDS) -> PromptMessage:
    calls = tuple(ToolCall(ids[n - 1], NAMES[n - 1], {"city": f"zqcall{n}"}) for n in numbers)
    return PromptMessage("assistant", text, thinking, tool_calls=calls)


def _result(number: int, ids: Sequence[str] = SHORT_IDS) -> PromptMessage:
    return PromptMessage("tool", f"zqresult{number}", tool_call_id=ids[number - 1], tool_name=NAMES[number - 1])


def _tool(name: str, description: str, properties: dict[str, JsonValue], **parameters: JsonValue) -> Definition:
    schema: dict[str, JsonValue] = {"type": "object", "properties": properties, **parameters}
    function: JsonValue = {"name": name, "description": description, "parameters": schema}
    return {"type": "function", "function": function}


NAMES = ("get_weather", "read_clock", "find_train")
CITY: dict[str, JsonValue] = {"zqcity": {"type": "string", "description": "Name of a city"}}
TOOLS = tuple(
    _tool(name, f"zqdescription{number}", CITY, required=["zqcity"]) for number, name in enumerate(NAMES, start=1)
)
ODD: dict[str, JsonValue] = {
    "several": {"type": ["string", "null"]},
    "either": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    "untyped": {"description": "Anything"},
    "choice": {"enum": ["a", "b"]},
    "bare": {"type": "array"},
    "list": {"type": "array", "items": {"type": "string"}},
}
ODD_TOOL = _tool(NAMES[0], "zqdescription1", ODD)
DETAILED: dict[str, JsonValue] = {
    "unit": {"type": "string", "description": "zqunit", "enum": ["zqenum1", "zqenum2"], "default": "zqdefault"},
    "count": {"type": "integer", "description": "A number", "minimum": 48151, "title": "Count"},
    "either": {"anyOf": [{"type": "string", "enum": ["zqalternative"]}, {"type": "integer"}]},
    "place": {
        "type": "object",
        "description": "zqplace",
        "properties": {"zqnested": {"type": "string", "description": "zqwithin", "enum": ["zqdeep"]}},
    },
}
DETAILED_TOOL = _tool(NAMES[0], "zqdescription1", DETAILED, required=["unit"])

S, S2 = _system("zqsystem1"), _system("zqsystem2")
U, U2, U3 = _user("zquser1"), _user("zquser2"), _user("zquser3")
A, A2 = _assistant("zqanswer1"), _assistant("zqanswer2")
ARGUMENTS: dict[str, JsonValue] = {
    "city": "zqtown",
    "o": {"zqkey": "zqvalue"},
    "l": ["zqitem1", "zqitem2"],
    "zqnull": None,
}
ODD_CALL = PromptMessage("assistant", "", tool_calls=(ToolCall(SHORT_IDS[0], NAMES[0], ARGUMENTS),))

BASE = (U, A, U2)

TEXTS = (
    Probe(messages=(S, U), choices=(KEPT, NO_SYSTEM)),
    Probe(messages=(S, S2, U), choices=(KEPT, ONE_SYSTEM, NO_SYSTEM)),
    Probe(messages=(S, U, A, S2, U2), choices=(KEPT, ONE_SYSTEM, NO_SYSTEM)),
    Probe(messages=(S, U, A, U2), choices=(KEPT, NO_SYSTEM)),
    Probe(messages=(S,), choices=(KEPT, {"needs_user": True})),
    Probe(messages=(U, U2, A, U3), choices=(KEPT, JOINED)),
    Probe(messages=(U, A, A2, U2), choices=(KEPT, JOINED)),
    Probe(messages=(A, U), choices=(KEPT, {"begins_with_user": True})),
    Probe(messages=(S, A, U), choices=(KEPT, {"begins_with_user": True})),
    Probe(messages=(U, PromptMessage("observer", "zqother"), U2), choices=(KEPT, {"loses_other_roles": True})),
    Probe(
        messages=(U, _assistant("zqbefore `</think>` zqbehind"), U2),
        choices=(KEPT, {"cuts_at_think_end": ("assistant",)}),
    ),
    Probe(
        messages=(_user("zqbefore `</think>` zqbehind"),),
        choices=(KEPT, {"cuts_at_think_end": ("assistant", "user", "system", "tool")}),
    ),
    Probe(messages=(U, _assistant("zqanswer1", "zqthought"), U2), choices=(KEPT, {"text_or_thoughts": True})),
)

DEFINITIONS = (
    Probe(messages=(U,), choices=(KEPT, {"spelling": Spelling.ALL}, ALL_AS_TEXT)),
    Probe(messages=(S, U), choices=(KEPT, NO_SYSTEM, ALL_AS_TEXT)),
    Probe(messages=(U, A, U2), choices=(KEPT, ALL_AS_TEXT)),
    Probe(messages=(S, U, A, S2, U2), choices=(KEPT, ONE_SYSTEM, NO_SYSTEM, ALL_AS_TEXT)),
    Probe(messages=(A, U), choices=(KEPT, {"begins_with_user": True}, ALL_AS_TEXT)),
    Probe(messages=(_user("again"), A, _user("again")), choices=(KEPT, {"repeats_tools": True}), tools_once=True),
    Probe(
        messages=(U,),
        tools=(ODD_TOOL,),
        choices=(KEPT, {"soft_schemas": True}, ALL_AS_TEXT),
    ),
    Probe(
        messages=(U,),
        tools=(DETAILED_TOOL,),
        choices=(KEPT, {"spelling": Spelling.DETAILED}, ALL_AS_TEXT),
        words=("48151",),
    ),
)

ROUNDS = (
    Probe(
        messages=(U, _call(1), _result(1)),
        choices=(KEPT, {"results_as_text": True}, {"results_as_text": True, **ALTERNATING}, AS_TEXT),
        opens=True,
    ),
    Probe(messages=(S, U, _call(1), _result(1)), choices=(KEPT, NO_SYSTEM, AS_TEXT)),
    Probe(messages=(U, _call(1, text="zqbeside"), _result(1)), choices=(KEPT, {"text_apart": True}, AS_TEXT)),
    Probe(
        messages=(U, _call(1, 2), _result(1), _result(2)),
        choices=(KEPT, {"calls": CallForm.SINGLE}, AS_TEXT),
        opens=True,
    ),
    Probe(
        messages=(U, _call(1), _result(1), A, U2, _call(2), _result(2)),
        choices=(KEPT, ALTERNATING, {"calls": CallForm.LAST}, AS_TEXT),
        even=True,
    ),
    Probe(messages=(U, _call(1), _result(1), _call(2), _result(2)), choices=(KEPT, ALTERNATING, AS_TEXT), opens=True),
    Probe(messages=(U, _call(1), _result(1), U2), choices=(KEPT, ALTERNATING, AS_TEXT)),
    Probe(messages=(U, A, _call(1), _result(1), A2, U2), choices=(KEPT, JOINED, ALTERNATING, AS_TEXT)),
    Probe(messages=(U, _call(1, 2), _result(1)), choices=(KEPT, {"fills_results": True}, AS_TEXT), opens=True),
    Probe(messages=(U, _call(1), U2), choices=(KEPT, {"fills_results": True}, AS_TEXT)),
    Probe(messages=(U, _result(1)), choices=(KEPT, {"orphans_as_text": True}, AS_TEXT), opens=True),
    Probe(
        messages=(U, _call(1, 2, 3, ids=LONG_IDS), *(_result(number, LONG_IDS) for number in (1, 2, 3))),
        choices=(KEPT, {"ids": IdForm.NINE}, AS_TEXT),
    ),
    Probe(messages=(U, ODD_CALL, _result(1)), choices=(KEPT, {"flat_arguments": True}, AS_TEXT)),
)

THOUGHTS = (
    Probe(
        messages=(U, _call(1, thinking="zqthought"), _result(1)),
        choices=(KEPT, {"thoughts_in_text": True}, {"thoughts_in_text": True, "text_apart": True}),
        thoughts=True,
    ),
    Probe(
        messages=(U, _call(1, text="zqbeside", thinking="zqthought"), _result(1)),
        choices=(
            KEPT,
            {"text_apart": True},
            {"thoughts_in_text": True},
            {"thoughts_in_text": True, "text_apart": True},
        ),
        thoughts=True,
    ),
)

ONE_SWITCH, SWITCH_WORDS = ("/no_think",), ("/no_think", "/think")
QUOTED: Change = {"quotes_switches": True}

SWITCHES = (
    Probe(
        messages=(_user("zquser1 /no_think zqbehind1 /think zqbehind2"),),
        choices=(KEPT, {"user_switches": ONE_SWITCH}, {"user_switches": SWITCH_WORDS}, QUOTED),
        words=("/no_think zqbehind1 /think zqbehind2",),
    ),
    Probe(
        messages=(_system("zqsystem1 /no_think zqbehind1 /think zqbehind2"), U),
        choices=(KEPT, {"system_switches": ONE_SWITCH}, {"system_switches": SWITCH_WORDS}, QUOTED),
        words=("/no_think zqbehind1 /think zqbehind2",),
    ),
)
