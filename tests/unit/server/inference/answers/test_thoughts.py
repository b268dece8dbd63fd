"""Thoughts that an engine leaves in the text."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from pydantic import JsonValue

from oprel.core.completion import Chunk, CompletionRequest, Logprob, PromptMessage
from oprel.formats.templates.thinking import MARKS, Marks, thinking_of
from oprel.server.inference.answers.thoughts import AnswerThoughts, ThoughtSplitter, opened_marks, with_thoughts
from oprel.server.inference.thinking import with_thinking
from tests.fixtures.arriving import arriving, each
from tests.fixtures.thinking_templates import source

THINK = MARKS[0]


def split(marks: Sequence[Marks], pieces: Sequence[str], opened: Marks | None = None) -> tuple[str, str]:
    splitter = ThoughtSplitter(marks)
    if opened:
        splitter.open(opened)
    parts = [*(splitter.add(piece) for piece in pieces), splitter.finish()]
    return "".join(thought for thought, _ in parts), "".join(text for _, text in parts)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("marks", MARKS, ids=lambda marks: marks.opens)
def test_a_thought_is_found_however_it_is_cut(marks: Marks, size: int) -> None:
    text = f"\n{marks.opens}a <b> c{marks.closes}{marks.before_answer}d <e>"
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert split(MARKS, pieces) == ("a <b> c", "d <e>")
    inside = text.partition(marks.opens)[2]
    assert split(MARKS, [inside[at : at + size] for at in range(0, len(inside), size)], opened=marks) == (
        "a <b> c",
        "d <e>",
    )


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ("", "")),
        ("plain", ("", "plain")),
        ("  plain", ("", "  plain")),
        ("<thin", ("", "<thin")),
        ("<thin ice", ("", "<thin ice")),
        ("say <think>a</think>", ("", "say <think>a</think>")),
        ("<think>a</thi", ("a</thi", "")),
        ("<think>a</think>", ("a", "")),
        ("<think></think>b", ("", "b")),
        ("<think>a</think>\n\nb </think> c", ("a", "b </think> c")),
    ],
)
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_all_other_text_stays(text: str, parts: tuple[str, str], size: int) -> None:
    assert split([THINK], [text[at : at + size] for at in range(0, len(text), size)]) == parts


async def received(*chunks: Chunk, opened: Marks | None = None) -> list[Chunk]:
    async def marks() -> Marks | None:
        return opened

    one_by_one, together = [
        await each(with_thoughts(arriving(chunks, size), AnswerThoughts([THINK], marks))) for size in (1, len(chunks))
    ]
    assert one_by_one == together
    return together


async def test_an_answer_whose_thoughts_the_engine_knows_stays_as_it_is() -> None:
    chunks = [Chunk(event=b"{}"), Chunk("", "hm", event=b"1"), Chunk("<think>quoted</think>", event=b"2")]
    assert await received(*chunks, opened=THINK) == chunks


async def test_plain_text_behind_a_thought_of_the_engine_may_begin_with_its_mark() -> None:
    thought = Chunk("", "hm", event=b"1")
    pieces = await received(thought, Chunk("</thi"), Chunk("nk>a"))
    assert [piece.text for piece in pieces] == ["", "", "a"]
    assert [piece.text for piece in await received(thought, Chunk("b </think>"))] == ["", "b </think>"]


async def test_several_answers_are_split_apart() -> None:
    chunks = [Chunk("<think>a", index=0), Chunk("x", index=1), Chunk("</think>b", index=0), Chunk("y", index=1)]
    pieces = await received(*chunks)
    assert ["".join(piece.text for piece in pieces if piece.index == index) for index in (0, 1)] == ["b", "xy"]
    assert "".join(piece.reasoning for piece in pieces) == "a"


async def test_changed_text_leaves_the_engines_event_and_keeps_its_logprobs() -> None:
    token = Logprob("<think>", -0.1, (1,))
    (piece,) = await received(Chunk("<think>", event=b"1", logprobs=(token,)))
    assert (piece.text, piece.event, piece.logprobs) == ("", b"", (token,))


def test_a_prompt_may_open_a_thought() -> None:
    assert opened_marks("…assistant\n<think>\n", MARKS) == THINK
    assert opened_marks("…assistant\n<think></think>", MARKS) is None


HELLO = (PromptMessage("user", "hi"),)


def test_variables_of_the_client_stay_unless_they_are_switches() -> None:
    sent: dict[str, JsonValue] = {"tone": "dry", "thinking": False, "enable_thinking": False}
    request = CompletionRequest(HELLO, think=True, template_arguments=sent)
    changed = with_thinking(request, thinking_of(source("kimi-k3")))
    assert changed.template_arguments == {"tone": "dry", "thinking": True, "enable_thinking": False}
    budget = replace(request, template_arguments={"thinking_budget": 512})
    assert with_thinking(budget, thinking_of(source("seed-oss"))).template_arguments == {"thinking_budget": 512}
    level = with_thinking(replace(request, think="low"), thinking_of(source("kimi-k3")))
    assert level.template_arguments["thinking_effort"] == "low"


def test_words_go_into_the_system_message() -> None:
    traits = thinking_of(source("nemotron-nano-2"))
    prompt = with_thinking(CompletionRequest(HELLO, think=False), traits).prompt
    assert prompt == (PromptMessage("system", "/no_think"), *HELLO)
    system = PromptMessage("system", "Be brief.")
    prompt = with_thinking(CompletionRequest((system, *HELLO), think=False), traits).prompt
    assert prompt == (PromptMessage("system", "Be brief.\n/no_think"), *HELLO)


def test_a_model_that_always_thinks_is_not_switched_off() -> None:
    request = CompletionRequest(HELLO, think=False)
    assert with_thinking(request, thinking_of(source("step-3.5"))).think is None
    assert with_thinking(request, thinking_of(source("gpt-oss"))).think == "low"
    assert with_thinking(request, None) is request
