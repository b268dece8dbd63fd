"""Python functions as tools, beside what Ollama's own client makes of them."""

from collections.abc import Callable
from enum import Enum
from typing import Any, Literal

import pydantic
import pytest
from ollama._utils import convert_function_to_tool

from oprel.client.functions import function_tool
from oprel.client.types import RequestError


def told(function: Callable[..., object]) -> Any:
    """The tool as it is sent."""
    return function_tool(function).model_dump(exclude_none=True, by_alias=True)


def parameters(function: Callable[..., object]) -> Any:
    return told(function)["function"]["parameters"]


def add(a: int, b: float = 1.5) -> float:
    """Add two numbers.

    They may be of any size: there is no limit.

    Args:
        a: the first number
        b (float): the second one,
            over two lines

    Returns:
        float: the sum
    """
    return a + b


def look(city: str, days: int | None = None, exact: bool = False) -> str:
    """Look at the weather."""
    return f"{city} {days} {exact}"


def bare(anything):
    return anything


@pytest.mark.parametrize("function", [add, look, bare])
def test_a_usual_function_is_the_tool_that_ollamas_client_makes(function: Callable[..., object]) -> None:
    theirs = convert_function_to_tool(function).model_dump(exclude_none=True)
    ours = told(function)
    required, asked_for = (tool["function"]["parameters"].pop("required") for tool in (ours, theirs))
    assert ours == theirs
    assert set(required) <= set(asked_for)  # which there includes arguments with a default


def test_the_docstring_says_what_arguments_mean() -> None:
    function = told(add)["function"]
    assert function["description"] == "Add two numbers.\n\nThey may be of any size: there is no limit."
    assert function["parameters"]["properties"] == {
        "a": {"type": "integer", "description": "the first number"},
        "b": {"type": "number", "description": "the second one, over two lines"},
    }
    assert function["parameters"]["required"] == ["a"]


def test_a_line_about_something_else_continues_an_argument() -> None:
    def wait(seconds: float) -> None:
        """Wait.

        Args:
            seconds: how long
                note: not over 60
        """

    assert parameters(wait)["properties"]["seconds"]["description"] == "how long note: not over 60"


class Unit(Enum):
    CELSIUS = "c"
    FAHRENHEIT = "f"


class Place(pydantic.BaseModel):
    name: str
    units: list[Unit] = []


def visit(place: Place, rooms: list[int], how: Literal["foot", "car"], until: str | int | None) -> None:
    """Visit a place."""


def test_nested_types_keep_their_whole_schema() -> None:
    schema = parameters(visit)
    assert schema["properties"]["rooms"] == {"type": "array", "items": {"type": "integer"}, "description": ""}
    assert schema["properties"]["how"]["enum"] == ["foot", "car"]
    assert schema["properties"]["place"]["properties"]["units"]["items"] == {"$ref": "#/$defs/Unit"}
    assert schema["$defs"]["Unit"]["enum"] == ["c", "f"]


def test_an_argument_that_must_be_given_may_be_null() -> None:
    schema = parameters(visit)
    assert {"type": "null"} in schema["properties"]["until"]["anyOf"]
    assert schema["required"] == ["place", "rooms", "how", "until"]


def test_names_that_pydantic_keeps_for_itself_are_ordinary_here() -> None:
    def odd(copy: str, _hidden: int, model_config: bool, *rest: str, **more: str) -> None:
        """Odd."""

    assert list(parameters(odd)["properties"]) == ["copy", "_hidden", "model_config"]


def test_annotations_may_be_text() -> None:
    def later(count: "int") -> None:
        """Later."""

    assert parameters(later)["properties"]["count"]["type"] == "integer"


def test_methods_and_callable_objects_are_functions_too() -> None:
    class Counter:
        def step(self, by: int) -> None:
            """Step."""

        def __call__(self, by: int) -> None:
            """Call."""

    assert list(parameters(Counter().step)["properties"]) == ["by"]
    assert told(Counter())["function"]["name"] == "Counter"


class Opaque:
    pass


def takes_an_object(thing: Opaque) -> None: ...


def takes_the_unknown(thing: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize("function", [takes_an_object, takes_the_unknown])
def test_a_function_without_a_schema_is_refused_by_name(function: Callable[..., object]) -> None:
    with pytest.raises(RequestError, match=f"^{function.__name__} cannot be a tool: ") as caught:
        function_tool(function)
    assert caught.value.resolution_steps
