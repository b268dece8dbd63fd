"""Messages put together as chat templates want them."""

from oprel.core.completion import PromptMessage, ToolCall
from oprel.server.api.common.merge_messages import merge_messages

CALL = ToolCall("one", "weather", {"city": "Oslo"})


def test_neighbours_of_one_role_become_one_message() -> None:
    given = [
        PromptMessage("system", "Be brief."),
        PromptMessage("system", "Be kind."),
        PromptMessage("user", "a"),
        PromptMessage("user", "b", images=("x",)),
        PromptMessage("assistant", "", "hm"),
        PromptMessage("assistant", "c"),
        PromptMessage("assistant", "", tool_calls=(CALL,)),
    ]
    assert merge_messages(given) == [
        PromptMessage("system", "Be brief.\nBe kind."),
        PromptMessage("user", "a\nb", images=("x",)),
        PromptMessage("assistant", "c", "hm", tool_calls=(CALL,)),
    ]


def test_results_of_tools_stay_apart_and_get_the_names_of_their_tools() -> None:
    calls = (CALL, ToolCall("two", "time", {}))
    results = [PromptMessage("tool", "noon", tool_call_id="two"), PromptMessage("tool", "rain", tool_call_id="one")]
    assert [
        message.tool_name for message in merge_messages([PromptMessage("assistant", "", tool_calls=calls), *results])
    ] == [
        "",
        "time",
        "weather",
    ]


def test_the_same_role_after_another_one_is_a_turn_of_its_own() -> None:
    given = [PromptMessage("user", "a"), PromptMessage("assistant", "b"), PromptMessage("user", "c")]
    assert merge_messages(given) == given
