"""Tool results find the calls that they answer, though clients of Ollama send no ids."""

from oprel.api_models import OllamaMessage as Sent
from oprel.core.completion import PromptMessage, ToolCall
from oprel.server.api.common.decode import linked, messages


def result(name: str = "", call: str = "") -> PromptMessage:
    return PromptMessage("tool", "5", tool_call_id=call, tool_name=name)


def calls(*names: str) -> PromptMessage:
    return PromptMessage("assistant", "", tool_calls=tuple(ToolCall(f"id_{name}", name, {}) for name in names))


def ids(given: list[PromptMessage]) -> list[str]:
    return [message.tool_call_id for message in given if message.role == "tool"]


def test_by_the_tools_name() -> None:
    assert ids(linked([calls("add", "sub"), result("sub"), result("add")])) == ["id_sub", "id_add"]


def test_in_order_without_a_name() -> None:
    found = linked([calls("add", "sub"), result(), result()])
    assert ids(found) == ["id_add", "id_sub"]
    assert [message.tool_name for message in found[1:]] == ["add", "sub"]


def test_an_id_that_is_given_stays() -> None:
    assert ids(linked([calls("add", "sub"), result(call="id_sub"), result(call="other")])) == ["id_sub", "other"]


def test_a_result_without_any_call_is_left_alone() -> None:
    assert linked([result("add")]) == [result("add")]


def test_calls_without_an_id_get_one_each() -> None:
    sent = [
        Sent.model_validate({"role": "assistant", "tool_calls": [{"function": {"name": name}} for name in ("a", "b")]}),
        Sent(role="tool", content="1", tool_name="b"),
    ]
    first, second = messages(sent)
    assert [call.id for call in first.tool_calls] == ["call_0_0", "call_0_1"]
    assert second.tool_call_id == "call_0_1"
