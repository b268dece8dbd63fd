"""Answers whose tokens end within characters, through the death of their engine: equal text, or an honest error."""

import asyncio
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oprel.core.completion import Chunk, CompletionRequest, Logprob, PromptMessage, Sampling, Tokens
from oprel.runtime.exits import Exit
from oprel.server.inference.answers.continuation import ResumableAnswer
from tests.fixtures.memory_engine import CRASH, KILLED, Bytewise, MemoryEngine, ready, token_of
from tests.fixtures.pool import MEMORY_DISK, MODEL, Answer, MakePool, MemoryPool

TEXTS = {
    "Latin": "naïve façade",
    "Greek": "Καλημέρα κόσμε",
    "Cyrillic": "Съешь ещё",
    "Hebrew": "שָׁלוֹם עולם",
    "Arabic": "السَّلامُ عليكم",
    "Devanagari": "नमस्ते दुनिया",
    "Thai": "สวัสดีชาวโลก",
    "Korean": "안녕하세요",
    "Japanese": "こんにちは世界",
    "Chinese": "你好，世界",
    "rare Chinese": "𠮷𠮷𠮷野家",
    "cuneiform": "𒀀𒀁𒀂𒀀",
    "emoji": "👨‍👩‍👧‍👦👩🏽‍🚀🏴‍☠️",
    "combining marks": "e\u0301a\u0308o\u0302\u0301z\u0336",
}
FOLDER = MEMORY_DISK if os.path.isdir(MEMORY_DISK) else None
CHAT = CompletionRequest((PromptMessage("user", "hello"),))


def some_characters(text: str) -> frozenset[str]:
    """A vocabulary that has some of the characters as a token each."""
    return frozenset(character for character in text if ord(character) % 3 == 0)


VOCABULARIES = {
    "bytes": lambda text: Bytewise(),
    "some characters": lambda text: Bytewise(some_characters(text)),
    "bytes where no tokenizer would": lambda text: Bytewise(some_characters(text), generates_bytes=True),
}


@pytest.mark.parametrize("vocabulary", VOCABULARIES.values(), ids=VOCABULARIES.keys())
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
async def test_a_kill_at_any_piece_changes_no_text(make_pool: MakePool, text: str, vocabulary) -> None:
    pool = make_pool()
    for piece in range(len(text) + 1):
        await pool.manager.unload(MODEL)
        pool.prepared.append(
            MemoryEngine(words=tuple(text), vocabulary=vocabulary(text), deaths=[piece], dies_of=KILLED)
        )
        answer = await pool.ask(CHAT)
        assert (answer.text, answer.error) == (text, None)
        assert answer.done and answer.done.recoveries == 1
        undisturbed = len(vocabulary(text).tokens(text, generated=True))
        assert answer.done.usage.completion_tokens == undisturbed


def asked(engine: MemoryEngine) -> Answer:
    async def ask() -> Answer:
        with tempfile.TemporaryDirectory(dir=FOLDER) as home:
            pool = MemoryPool(Path(home), engine)
            try:
                return await pool.ask(CHAT)
            finally:
                await pool.end()

    return asyncio.run(ask())


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=3), min_size=1, max_size=8),
    st.frozensets(st.characters(codec="utf-8", min_codepoint=128), max_size=5),  # every ASCII character is a byte
    st.booleans(),
    st.lists(st.integers(0, 8), min_size=1, max_size=3),
    st.sampled_from([CRASH, KILLED]),
)
def test_any_text_is_whole_or_an_honest_error(
    words: list[str], characters: frozenset[str], generates_bytes: bool, deaths: list[int], dies_of: Exit
) -> None:
    text = "".join(words)
    vocabulary = Bytewise(characters, generates_bytes)
    answer = asked(MemoryEngine(words=words, vocabulary=vocabulary, deaths=deaths, dies_of=dies_of))
    assert text.startswith(answer.text)
    assert answer.text == text if answer.done else answer.error


# The tokens that the next engine continues from

BYTES = [token_of(f"<0x{byte:02X}>") for byte in "𠮷".encode()]
LOOKS_LIKE = Chunk("𠮷", tokens=(BYTES[-1],), spelled="𠮷".encode(), unreported=3)


async def continued(*chunks: Chunk, vocabulary: Bytewise | None = None, **fields: object) -> CompletionRequest:
    answer = ResumableAnswer(CompletionRequest("Once", Sampling(num_predict=100), **fields))  # type: ignore[arg-type]
    for chunk in chunks:
        answer.receive(chunk)
    await answer.go_on(ready(MemoryEngine(vocabulary=vocabulary or Bytewise())))
    return answer.request


async def test_tokens_within_a_character_are_restored() -> None:
    request = await continued(LOOKS_LIKE, LOOKS_LIKE)
    assert request.prompt == Tokens(("Once", *BYTES, *BYTES))
    assert request.sampling.num_predict == 92


@pytest.mark.parametrize(
    "chunk",
    [
        Chunk("𠮷", tokens=(BYTES[-1],), spelled="𠮷".encode(), unreported=2),
        Chunk("𠮷", tokens=(BYTES[0],), spelled="𠮷".encode(), unreported=3),
        Chunk("𠮷", tokens=(), spelled="𠮷".encode(), unreported=4),
        Chunk("�", tokens=(BYTES[0],), spelled=b"\xf0", unreported=3),
    ],
    ids=["another number", "another last token", "no token at all", "bytes that are no text"],
)
async def test_what_does_not_fit_is_repeated_with_its_seed(chunk: Chunk) -> None:
    assert (await continued(chunk)).prompt == "Once"


async def test_a_text_that_may_begin_a_stop_string_is_generated_again() -> None:
    """The engine holds it back: its token is reported, and its text has not arrived."""
    told, held = Chunk("a", tokens=(1,), spelled=b"a"), Chunk("", tokens=(2,))
    assert (await continued(told, held)).prompt == Tokens(("Once", 1))
    released = Chunk("<|", tokens=(3,), spelled=b"<|")
    assert (await continued(told, held, released)).prompt == Tokens(("Once", 1, 2, 3))
    logprob = Logprob("", -1.0, ())
    held = Chunk("", tokens=(2,), logprobs=(logprob,))
    assert (await continued(told, held, top_logprobs=0)).prompt == "Once", "its entry would be sent twice"


async def test_held_text_counts_with_the_character_that_releases_it() -> None:
    held = Chunk("", tokens=(token_of("<0x3C>"),))
    released = Chunk("<𠮷", tokens=(BYTES[-1],), spelled="<𠮷".encode(), unreported=3)
    assert (await continued(held, released)).prompt == Tokens(("Once", token_of("<0x3C>"), *BYTES))
