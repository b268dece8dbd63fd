"""Tools as clients send them."""

import pytest
from pydantic import JsonValue

from oprel.core.exceptions import ValidationError
from oprel.server.inference.structured_output.tools import function_tools

PARAMETERS: dict[str, JsonValue] = {"type": "object", "properties": {"a": {"type": "string"}}}
WHOLE = {"type": "function", "function": {"name": "t", "parameters": PARAMETERS}}
NOTHING = {"type": "function", "function": {"name": "t", "parameters": {"type": "object", "properties": {}}}}


@pytest.mark.parametrize(
    ("tool", "complete"),
    [
        (WHOLE, WHOLE),
        ({"function": WHOLE["function"]}, WHOLE),
        ({"type": "", "function": WHOLE["function"]}, WHOLE),
        ({"name": "t", "parameters": PARAMETERS}, WHOLE),
        ({"type": "function", "name": "t", "description": None, "parameters": PARAMETERS}, WHOLE),
        ({"function": {"name": "t", "parameters": None}}, NOTHING),
        ({"function": {"name": "t", "parameters": {}, "strict": None}}, NOTHING),
        ({"function": {"name": "t", "parameters": {"properties": {}, "type": "object", "required": None}}}, NOTHING),
    ],
)
def test_a_tool_is_completed(tool: dict[str, JsonValue], complete: object) -> None:
    assert function_tools([tool]) == (complete,)


@pytest.mark.parametrize(
    "tool",
    [
        {},
        {"type": "web_search"},
        {"function": None},
        {"type": "function", "function": {"name": None}},
        {"function": {"name": ""}},
        {"function": {"name": 7}},
        {"function": {"name": "t", "description": ["d"]}},
        {"function": {"name": "t", "parameters": "none"}},
    ],
)
def test_what_is_no_tool_is_refused_with_its_place(tool: dict[str, JsonValue]) -> None:
    with pytest.raises(ValidationError, match=r"tools\[1\]"):
        function_tools([WHOLE, tool])  # type: ignore[list-item]
