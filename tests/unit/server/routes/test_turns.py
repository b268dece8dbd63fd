"""Messages put together as chat templates want them."""

from oprel.core.completion import Message, ToolCall
from oprel.server.api.common.merge_messages import turns

CALL = ToolCall("one", "weather", {"city": "Oslo"})


def test_neighbours_of_one_role_become_one_message() -> None:
    given = [
        Message("system", "Be brief."),
        Message("system", "Be kind."),
        Message("user", "a"),
        Message("user", "b", images=("x",)),
        Message("assistant", "", "hm"),
        Message("assistant", "c"),
        Message("assistant", "", tool_calls=(CALL,)),
    ]
    assert turns(given) == [
        Message("system", "Be brief.\nBe kind."),
        Message("user", "a\nb", images=("x",)),
        Message("assistant", "c", "hm", (CALL,)),
    ]


def test_results_of_tools_stay_apart_and_get_the_names_of_their_tools() -> None:
    calls = (CALL, ToolCall("two", "time", {}))
    results = [Message("tool", "noon", tool_call_id="two"), Message("tool", "rain", tool_call_id="one")]
    assert [message.tool_name for message in turns([Message("assistant", "", tool_calls=calls), *results])] == [
        "",
        "time",
        "weather",
    ]


def test_the_same_role_after_another_one_is_a_turn_of_its_own() -> None:
    given = [Message("user", "a"), Message("assistant", "b"), Message("user", "c")]
    assert turns(given) == given
