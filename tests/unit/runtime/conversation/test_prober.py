"""What is learned of templates by rendering; here by Jinja alone, without an engine."""

from collections.abc import Mapping
from typing import Any

import jinja2
import orjson
import pytest

from oprel.core.completion import CompletionRequest, PromptMessage
from oprel.runtime.conversation.prober import ChatUse, Prober
from oprel.runtime.conversation.rules import TEMPLATE_REFUSED, ConversationRules, TemplateRecord
from oprel.runtime.conversation.traits import AS_IS, CallForm, IdForm, SystemPlace, TemplateTraits
from oprel.runtime.engine import EngineRefused

TURN = "<{{ m.role }}>{{ m.content }}|"
TURN_AND_END = "<{{ m.role }}>{{ m.content }}<end>"
CALLS = (
    "{% for c in m.tool_calls or [] %}{{ c.id }} {{ c.function.name }} {{ c.function.arguments | tojson }};{% endfor %}"
)
TOOLS = "{% if tools %}{{ tools | tojson }}{% endif %}"


def each(rule: str, *, turn: str = TURN + CALLS, before: str = TOOLS, opens: str = "true") -> str:
    return f"{before}{{% for m in messages %}}{rule}{turn}{{% endfor %}}{{% if {opens} %}}<assistant>{{% endif %}}"


def refuse(condition: str) -> str:
    return f"{{% if {condition} %}}{{{{ raise_exception('no') }}}}{{% endif %}}"


class Renderer:
    """A template and how often it was rendered."""

    def __init__(self, template: str) -> None:
        environment = jinja2.Environment()
        environment.globals["raise_exception"] = self._refuse
        self._template = environment.from_string(template)
        self.source = template
        self.count = 0

    async def __call__(self, request: CompletionRequest) -> str:
        assert isinstance(request.prompt, tuple)
        self.count += 1
        messages = [_as_json(message) for message in request.prompt]
        variables = {"reasoning_effort": request.think} if isinstance(request.think, str) else {}
        return self._template.render(messages=messages, tools=list(request.tools), **variables)

    @staticmethod
    def _refuse(why: str) -> None:
        raise EngineRefused(400, "invalid_request_error", why)


def _as_json(message: PromptMessage) -> dict[str, Any]:
    calls = [
        {"id": call.id, "function": {"name": call.name, "arguments": orjson.loads(orjson.dumps(call.arguments))}}
        for call in message.tool_calls
    ]
    given = {"tool_calls": calls, "tool_call_id": message.tool_call_id, "reasoning_content": message.thinking}
    return {"role": message.role, "content": message.content, **{name: value for name, value in given.items() if value}}


async def traits_of(template: str, *, tools: bool = False) -> TemplateTraits:
    return await Prober(Renderer(template), template).traits(ChatUse(tools, tools))


TEXTS: Mapping[str, tuple[str, dict[str, object]]] = {
    "takes all": (each(""), {}),
    "a later system is lost": (
        each("{% if m.role != 'system' or loop.first %}", turn=TURN + CALLS + "{% endif %}"),
        {"system": SystemPlace.FIRST},
    ),
    "a later system is refused": (each(refuse("m.role == 'system' and not loop.first")), {"system": SystemPlace.FIRST}),
    "no system": (each(refuse("m.role == 'system'")), {"system": SystemPlace.NOWHERE}),
    "turns alternate": (
        each(refuse("not loop.first and m.role == loop.previtem.role")),
        {"system": SystemPlace.FIRST, "joins_neighbours": True},
    ),
    "user first": (each(refuse("loop.first and m.role == 'assistant'")), {"begins_with_user": True}),
    "a user is needed": (
        each("", before=refuse("not messages | selectattr('role', 'equalto', 'user') | list")),
        {"needs_user": True},
    ),
    "no other roles": (each(refuse("m.role == 'observer'")), {"loses_other_roles": True}),
    "cut at the end of thoughts": (
        each("").replace("{{ m.content }}", "{{ m.content.split('</think>')[-1] }}"),
        {"cuts_at_think_end": ("assistant", "user", "system", "tool")},
    ),
    "thoughts cost the text": (
        each("").replace("{{ m.content }}", "{% if not m.reasoning_content %}{{ m.content }}{% endif %}"),
        {"text_or_thoughts": True},
    ),
    "switches are cut out": (
        each("").replace("{{ m.content }}", "{{ m.content | replace('/no_think', '') }}"),
        {"user_switches": ("/no_think",), "system_switches": ("/no_think",)},
    ),
}


@pytest.mark.parametrize(("template", "expected"), TEXTS.values(), ids=TEXTS)
async def test_traits_of_texts(template: str, expected: dict[str, object]) -> None:
    assert await traits_of(template) == TemplateTraits(**expected)  # type: ignore[arg-type]


RESULTS: dict[str, object] = {"results_as_text": True}
STATE = "{% set n = namespace(open=false) %}" + TOOLS
AS_TEXT: dict[str, object] = {"calls": CallForm.TEXT, "orphans_as_text": True}
PROPERTIES = "{% for t in tools %}{% for p in t.function.parameters.properties.values() %}"
NO_CALLS = "not messages | selectattr('tool_calls', 'defined') | list"

WITH_TOOLS: Mapping[str, tuple[str, dict[str, object]]] = {
    "takes all": (each(""), {}),
    "no tools": (each("", before="", turn=TURN), {"tools_as_text": True, **AS_TEXT}),
    "calls are lost": (each("", turn=TURN), AS_TEXT),
    "a second call is refused": (each(refuse("m.tool_calls and m.tool_calls[1]")), {"calls": CallForm.SINGLE}),
    "one opening for all calls": (
        each("{% if m.tool_calls and not n.open %}<calls>{% set n.open = true %}{% endif %}", before=STATE),
        {"calls": CallForm.LAST},
    ),
    "not opened behind a result": (each("", turn=CALLS + TURN_AND_END, opens="messages[-1].role != 'tool'"), RESULTS),
    "text beside calls is lost": (
        each("").replace("{{ m.content }}", "{% if not m.tool_calls %}{{ m.content }}{% endif %}"),
        {"text_apart": True},
    ),
    "nine letters": (
        each("{% for c in m.tool_calls or [] %}" + refuse("c.id | length != 9") + "{% endfor %}"),
        {"ids": IdForm.NINE},
    ),
    "a result needs a call": (each(refuse(f"m.role == 'tool' and {NO_CALLS}")), {"orphans_as_text": True}),
    "one type each": (
        each("", before=TOOLS + PROPERTIES + refuse("p.type is not string") + "{% endfor %}{% endfor %}"),
        {"soft_schemas": True},
    ),
}


@pytest.mark.parametrize(("template", "expected"), WITH_TOOLS.values(), ids=WITH_TOOLS)
async def test_traits_of_tools(template: str, expected: dict[str, object]) -> None:
    assert await traits_of(template, tools=True) == TemplateTraits(**expected)  # type: ignore[arg-type]


async def test_nothing_is_learned_from_a_template_that_renders_nothing() -> None:
    assert (await traits_of("x", tools=True)).is_unclear


async def test_a_template_is_probed_once_for_each_use() -> None:
    record, render = TemplateRecord(), Renderer(each(""))
    rules = ConversationRules(render, record)
    await rules.fit(CompletionRequest((PromptMessage("user", "hi"),)))
    count = render.count
    await rules.fit(CompletionRequest((PromptMessage("user", "hello"),)))
    await ConversationRules(render, record).fit(CompletionRequest((PromptMessage("user", "hello"),)))
    assert render.count == count and record.traits[ChatUse()] == AS_IS


async def test_a_level_of_thinking_is_the_nearest_that_the_template_takes() -> None:
    levels = refuse("reasoning_effort is defined and reasoning_effort not in ['low', 'xhigh']")
    rules = ConversationRules(Renderer(each("", before=levels)), TemplateRecord())
    made = [
        (await rules.fit(CompletionRequest((PromptMessage("user", "hi"),), think=level))).think
        for level in ("low", "medium", "high")
    ]
    assert made == ["low", "low", "xhigh"]


async def test_what_no_trait_mends_is_passed_in_the_plainest_form() -> None:
    """Here a template that refuses a word of two systems in a row, which no probe has."""
    template = each(refuse("m.role == 'system' and 'secret' in m.content"))
    rules = ConversationRules(Renderer(template), TemplateRecord())
    refusal = EngineRefused(400, "", "no")
    request = CompletionRequest((PromptMessage("system", "secret"), PromptMessage("user", "hi")))
    plain = await rules.plain(request, refusal)
    assert plain.prompt == (PromptMessage("user", "secret\n\nhi"),)


async def test_what_a_template_refuses_in_every_form_is_its_refusal() -> None:
    rules = ConversationRules(Renderer(each(refuse("'secret' in m.content"))), TemplateRecord())
    request = CompletionRequest((PromptMessage("user", "secret"),))
    with pytest.raises(EngineRefused) as raised:
        message = "While executing CallExpression at line 1\nError: Jinja Exception: no secrets"
        await rules.plain(request, EngineRefused(500, "server_error", message))
    assert (raised.value.status, raised.value.kind, raised.value.message) == (400, TEMPLATE_REFUSED, "no secrets")


async def test_an_engine_that_refuses_everything_is_not_the_templates_fault() -> None:
    refusal = EngineRefused(500, "server_error", "out of order")

    async def render(request: CompletionRequest) -> str:
        raise EngineRefused(500, "server_error", "out of order")

    rules = ConversationRules(render, TemplateRecord(traits={ChatUse(): AS_IS}))
    with pytest.raises(EngineRefused) as raised:
        await rules.plain(CompletionRequest((PromptMessage("user", "x"),)), refusal)
    assert raised.value is refusal


async def test_other_refusals_stay_what_they_are() -> None:
    refusal = EngineRefused(400, "exceed_context_size_error", "too long")
    with pytest.raises(EngineRefused) as raised:
        await ConversationRules(Renderer(each("")), TemplateRecord()).plain(
            CompletionRequest((PromptMessage("user", "x"),)), refusal
        )
    assert raised.value is refusal
