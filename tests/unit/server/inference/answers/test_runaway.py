"""When an answer counts as one that repeats itself without end: pure, and with an engine in memory."""

import random
import re
from collections.abc import Iterable, Sequence
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oprel.core.completion import Chunk, CompletionRequest, Finish, PromptMessage, Sampling, Tokens, Usage
from oprel.server.inference.answers.runaway import (
    FEWEST_REPEATS,
    FEWEST_TOKENS,
    LONGEST_PERIOD,
    RUNAWAY,
    CodeFence,
    PeriodicTail,
    RunawayGuard,
    guarded,
)
from tests.fixtures.arriving import TOGETHER, arriving, each
from tests.fixtures.memory_engine import MemoryEngine
from tests.fixtures.pool import MakePool

PIECES = re.compile(r" ?[a-zA-Z]+|\d{1,3}| ?[-=_*~.#+|`]{1,16}|\s+|.", re.DOTALL)


def tokens_of(text: str) -> list[str]:
    """The text, split as tokenizers of real models split it."""
    return PIECES.findall(text)


def ended_at(pieces: Iterable[str]) -> int | None:
    """After how many tokens the guard ends the answer."""
    guard = RunawayGuard()
    return next((number for number, piece in enumerate(pieces, 1) if guard.add(Chunk(piece))), None)


def repeats_itself(symbols: Sequence[object]) -> bool:
    """The definition, by comparing everything with everything."""
    for period in range(1, LONGEST_PERIOD + 1):
        length = max(FEWEST_TOKENS, FEWEST_REPEATS * period)
        tail = symbols[-length:]
        if len(tail) == length and all(tail[at] == tail[at - period] for at in range(period, length)):
            return True
    return False


@given(
    prefix=st.lists(st.integers(0, 3), max_size=80),
    period=st.lists(st.integers(0, 3), min_size=1, max_size=70),
    repeats=st.integers(1, 300),
    end=st.lists(st.integers(0, 3), max_size=3),
)
def test_the_tail_agrees_with_the_definition(
    prefix: list[int], period: list[int], repeats: int, end: list[int]
) -> None:
    symbols = [*prefix, *(period * repeats)[:700], *end]
    tail = PeriodicTail()
    for symbol in symbols:
        tail.add(symbol)
    assert tail.is_runaway() == repeats_itself(symbols)


@pytest.mark.parametrize("period", [1, 2, 3, 7, 31, 32, 33, 63, 64])
def test_it_ends_at_the_first_token_that_makes_eight_repeats_and_256_tokens(period: int) -> None:
    cycle = [f"w{number} " for number in range(period)]
    prefix = ["once ", "upon ", "a ", "time "]
    assert ended_at([*prefix, *cycle * 600]) == len(prefix) + max(256, 8 * period)


def test_a_longer_period_goes_on() -> None:
    assert ended_at([f"w{number} " for number in range(65)] * 20) is None


def test_pieces_of_several_tokens_count_as_many() -> None:
    guard = RunawayGuard()
    emoji = Chunk("🎉", tokens=(7,), unreported=3)
    ended = next(number for number in range(1, 1000) if guard.add(emoji))
    assert (ended, guard.tokens) == (64, 256)


def test_characters_that_share_their_last_token_differ() -> None:
    guard, rng = RunawayGuard(), random.Random(1)
    pieces = [Chunk(rng.choice("🎉🎈🎊🎁"), tokens=(7,), unreported=3) for _ in range(500)]
    assert not any(guard.add(piece) for piece in pieces)


def test_thoughts_run_away_too() -> None:
    guard = RunawayGuard()
    assert any(guard.add(Chunk(reasoning="hm ")) for _ in range(256))


def test_a_shaped_answer_does_not_but_its_thoughts_do() -> None:
    guard = RunawayGuard(is_shaped=True)
    assert not any(guard.add(Chunk("0, ")) for _ in range(2000))
    assert any(guard.add(Chunk(reasoning="hm ")) for _ in range(256))


def test_arguments_of_a_call_do_not() -> None:
    guard = RunawayGuard()
    assert not any(guard.add(Chunk(called='"a",')) for _ in range(2000))


@pytest.mark.parametrize("fence", ["```python\n", "~~~\n", "  ````\n", "1. ```\n", "> ```\n", "- ~~~~ text\n"])
def test_within_a_code_fence_an_answer_may_repeat_itself(fence: str) -> None:
    assert ended_at([fence, *["    pass\n"] * 2000]) is None


def test_behind_a_code_fence_it_may_not() -> None:
    assert ended_at(["```\n", "x\n", "```\n", *["again "] * 300]) == 3 + 256


@pytest.mark.parametrize("loop", ["```\n", "~~~~\n", "`", "~"])
def test_marks_of_fences_run_away_too(loop: str) -> None:
    ended = ended_at([loop] * 600)
    assert ended is not None and ended <= 257


def test_a_fence_is_closed_by_its_own_marks_only() -> None:
    fence = CodeFence()
    states = []
    for line in ("````md\n", "```\n", "~~~~\n", "```` x\n", "`````  \n", "``` not `a fence\n"):
        fence.add(line)
        states.append(fence.is_open)
    assert states == [True, True, True, True, False, False]


def test_a_fence_may_come_in_pieces_and_a_long_line_is_none() -> None:
    fence = CodeFence()
    for piece in ("``", "`py", "thon", "\n"):
        fence.add(piece)
    assert fence.is_open
    fence.add("```" + "x" * 5000 + "\n```\n")
    assert not fence.is_open


def _rows(rng: random.Random, make: object, count: int) -> str:
    return "".join(make(number, rng) for number in range(count))  # type: ignore[operator]


LEGITIMATE = {
    "table": lambda n, r: f"| {n} | {r.choice('abc')}lpha | {r.randint(0, 9)} | yes |\n",
    "ascii table": lambda n, r: f"+-----+-------+\n| {n:3} | {r.randint(0, 999):5} |\n",
    "code": lambda n, r: f"    value_{n} = compute(value_{n - 1}, {r.randint(0, 9)})\n",
    "json array": lambda n, r: f'  {{"id": {n}, "name": "item", "ok": {r.choice(["true", "false"])}}},\n',
    "numbered list": lambda n, r: f"{n}. The same words again and again.\n",
    "lines of a log": lambda n, r: f"2026-11-30 10:00:{n:02} INFO request served in {r.randint(1, 99)} ms\n",
    "svg path": lambda n, r: f"L {n * 3} {r.randint(0, 500)} ",
    "numbers": lambda n, r: f"{n}, ",
}


@pytest.mark.parametrize("kind", LEGITIMATE)
def test_no_legitimate_repetition_is_cut(kind: str) -> None:
    rng = random.Random(kind)
    for count in range(20, 120, 5):  # 20 answers of each of eight kinds
        assert ended_at(tokens_of(_rows(rng, LEGITIMATE[kind], count))) is None


VERSE = (
    "Row, row, row your boat,\nGently down the stream.\nMerrily, merrily, merrily, merrily,\nLife is but a dream.\n\n"
)
PHRASES = [
    *("ha" * count for count in (40, 80, 120)),
    *("ha " * count for count in (40, 80, 120)),
    *(f"{character * count}\n" for character in "-=_*~.#" for count in (80, 200)),
    *("all work and no play\n" * count for count in (10, 20, 30, 39)),
    *(VERSE * count for count in (2, 4, 7)),
    *(f"{'—' * 200}\n{text}\n{'—' * 200}\n" for text in ("Title", "Chapter 1", "The end")),
    *("\n".join("0 " * 12 for _ in range(rows)) for rows in (3, 6, 9)),
    *(f"[{', '.join(['0'] * count)}]" for count in (16, 64, 80)),
    "na " * 16 + "Batman!",
]


@pytest.mark.parametrize("text", PHRASES, ids=range(len(PHRASES)))
def test_no_short_repetition_is_cut(text: str) -> None:
    assert ended_at(tokens_of(text)) is None


@pytest.mark.parametrize("together", TOGETHER)
async def test_a_runaway_answer_gets_a_whole_end_with_its_usage(together: int) -> None:
    said = [
        Chunk("ha ", used=partial(Usage, prompt_tokens=9, cached_tokens=4, completion_tokens=number))
        for number in range(1, 500)
    ]
    received = await each(guarded(arriving(said, together), CompletionRequest("hi")))
    *_, last = received
    assert (last.finish, last.ended_by) == (Finish.LENGTH, RUNAWAY)
    assert last.usage == Usage(prompt_tokens=9, cached_tokens=4, completion_tokens=256)
    assert len(received) == 257


@pytest.mark.parametrize("together", TOGETHER)
async def test_one_of_several_answers_may_run_away_alone(together: int) -> None:
    """The other one goes on to its own end."""
    said = [Chunk(text, index=index) for number in range(400) for index, text in enumerate(("ha ", f"w{number} "))]
    end = Chunk(finish=Finish.STOP, finishes=(Finish.STOP, Finish.STOP), usage=Usage(completion_tokens=800))
    chunks = await each(guarded(arriving([*said, end], together), CompletionRequest("hi", n=2)))
    assert [sum(chunk.index == index and not chunk.finish for chunk in chunks) for index in (0, 1)] == [256, 400]
    assert (chunks[-1].finishes, chunks[-1].ended_by) == ((Finish.LENGTH, Finish.STOP), RUNAWAY)


LOOP = ("ha ",) * 400


@pytest.mark.parametrize(
    ("setting", "sampling", "length"),
    [
        ("on", Sampling(), 256),
        ("off", Sampling(), 400),
        ("on", Sampling(runaway_guard=False), 400),
        ("off", Sampling(runaway_guard=True), 256),
        ("on", Sampling(ignore_eos=True), 400),
        ("on", Sampling(ignore_eos=True, runaway_guard=True), 256),
    ],
)
async def test_a_request_decides_and_else_the_setting(
    make_pool: MakePool, setting: str, sampling: Sampling, length: int
) -> None:
    pool = make_pool(MemoryEngine(words=LOOP), runaway_guard=setting)
    answer = await pool.ask(CompletionRequest("Hello", sampling))
    assert answer.done and answer.done.text == "ha " * length
    assert (answer.done.ended_by, answer.done.finish is Finish.LENGTH) == (
        (RUNAWAY, True) if length == 256 else ("", False)
    )


async def test_a_continued_answer_counts_from_its_beginning(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(words=LOOP, deaths=[200]))
    answer = await pool.ask(CompletionRequest("Hello"))
    assert answer.done and (answer.done.recoveries, answer.done.ended_by) == (1, RUNAWAY)
    assert answer.done.usage.completion_tokens == 256


@pytest.mark.parametrize(
    "prompt",
    [
        "Write code:\n```python\n",
        Tokens((1, "```\n")),
        (PromptMessage("user", "code?"), PromptMessage("assistant", "Here:\n```\n")),
    ],
)
async def test_an_answer_may_begin_within_a_code_fence(prompt: str | Tokens | tuple[PromptMessage, ...]) -> None:
    said = [Chunk("pass\n")] * 400
    end = Chunk(finish=Finish.STOP, finishes=(Finish.STOP,))
    received = await each(guarded(arriving([*said, end]), CompletionRequest(prompt)))
    assert len(received) == 401 and received[-1] is end
