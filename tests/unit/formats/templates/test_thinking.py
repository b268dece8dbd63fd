"""What a template says about its model's thoughts."""

import pytest

from oprel.formats.model_info import of_template
from oprel.formats.templates.thinking import MARKS, RANKS, nearest, thinking_of
from tests.fixtures.thinking_templates import PLAIN, TEMPLATES, Think, rendered, source

HELLO = {"role": "user", "content": "hi"}
CASES = [(name, think) for name, row in TEMPLATES.items() for think in (True, False, "low", "medium", "high", "max")]


@pytest.mark.parametrize(("name", "think"), CASES)
def test_each_family_gets_what_comes_nearest_to_the_request(name: str, think: Think) -> None:
    row, traits = TEMPLATES[name], thinking_of(source(name))
    assert traits
    setting = traits.setting(think)
    system = [{"role": "system", "content": setting.system_words}] if setting.system_words else []
    variables = {"enable_thinking": setting.think is not False, **setting.variables}
    assert row.prompts.get(think, "") in rendered(source(name), [*system, HELLO], **variables)
    assert setting.is_heeded is (think not in row.unheeded)


@pytest.mark.parametrize("level", RANKS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_no_level_is_refused_by_a_template(name: str, level: str) -> None:
    traits = thinking_of(source(name))
    assert traits
    assert rendered(source(name), [HELLO], **traits.setting(level).variables)


@pytest.mark.parametrize("name", TEMPLATES)
def test_nothing_is_sent_unless_it_is_requested(name: str) -> None:
    traits = thinking_of(source(name))
    assert traits
    assert (traits.setting(None).think, traits.setting(None).variables, traits.setting(None).is_heeded) == (
        None,
        {},
        True,
    )


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name != "llm-jp"])
def test_the_marks_of_a_thought_are_known(name: str) -> None:
    traits = thinking_of(source(name))
    assert traits
    assert TEMPLATES[name].marks[0] in [marks.opens for marks in traits.marks]


@pytest.mark.parametrize("template", PLAIN.values(), ids=PLAIN)
def test_other_templates_do_not_think(template: str) -> None:
    assert thinking_of(template) is None
    assert "thinking" not in of_template(template)


@pytest.mark.parametrize(
    "template",
    [
        "{% if m.reasoning_content %}{{ m.reasoning_content }}{% endif %}",
        "{{ m['reasoning_content'] }}",
        "{% if 'thinking' in m %}{{ m.get('thinking') }}{% endif %}",
        "{% generation %}{{ m.reasoning }}{% endgeneration %}",
        *(f"{{{{ '{marks.opens}' }}}}" for marks in MARKS if not marks.sign),
        *(f"{{{{ content.split('{marks.closes}')[-1] }}}}" for marks in MARKS if not marks.sign),
    ],
)
def test_fields_and_marks_alone_show_that_a_model_thinks(template: str) -> None:
    traits = thinking_of(template)
    assert traits
    assert not traits.setting(False).is_heeded


def test_a_template_that_cannot_be_read_has_the_usual_switch() -> None:
    for template in ("{% if enable_thinking %}{{ 'x }}", "enable_thinking" + " " * 200_000):
        traits = thinking_of(template)
        assert traits
        assert (traits.setting(False).variables, traits.setting(False).is_heeded) == ({"enable_thinking": False}, True)


def test_several_levels_of_one_rank_and_between_two() -> None:
    assert [nearest(level, ["low", "high", "max"]) for level in RANKS] == [
        "low",
        "low",
        "high",
        "high",
        "max",
        "max",
        "max",
    ]
    assert [nearest(level, ["low", "medium", "xhigh"]) for level in ("high", "max")] == ["xhigh", "xhigh"]
