"""How long prompts are, and what goes of those that do not fit. Each word is a token."""

import pytest

from oprel.core.completion import CompletionRequest, Prompt, PromptMessage, Sampling, Tokens, ToolCall
from oprel.core.exceptions import ContextLengthError
from oprel.server.inference.truncation import (
    IMAGE_TOKENS,
    MARK_TOKENS,
    READABLE,
    Truncation,
    about_tokens,
    check_length,
    image_count,
    prompt_length,
    prompt_text,
    prompt_tokens,
    rendered,
    truncated,
)
from tests.fixtures.memory_engine import MemoryEngine, ready, token_of, tokens_of, vocabulary

SHORT_ANSWER = Sampling(num_predict=1)


@pytest.fixture
async def engine() -> MemoryEngine:
    return ready(MemoryEngine())


def said(role: str, content: str) -> PromptMessage:
    return PromptMessage(role, content)


def chat(*contents: str, system: str = "") -> tuple[PromptMessage, ...]:
    """Messages of a user and an assistant in turn; with its role, each is a token longer than its content."""
    turns = [said(("user", "assistant")[number % 2], content) for number, content in enumerate(contents)]
    return (said("system", system), *turns) if system else tuple(turns)


async def cut(engine: MemoryEngine, prompt: Prompt, num_ctx: int, sampling: Sampling = SHORT_ANSWER) -> Truncation:
    _, truncation = await truncated(engine, CompletionRequest(prompt, sampling), num_ctx)
    return truncation


async def text_of(engine: MemoryEngine, prompt: Prompt, num_ctx: int, sampling: Sampling = SHORT_ANSWER) -> str:
    """What is left of a text."""
    request, _ = await truncated(engine, CompletionRequest(prompt, sampling), num_ctx)
    assert isinstance(request.prompt, Tokens)
    return "".join(vocabulary[part] if isinstance(part, int) else part for part in request.prompt.parts)


async def contents_of(
    engine: MemoryEngine, prompt: Prompt, num_ctx: int, sampling: Sampling = SHORT_ANSWER
) -> list[str]:
    """What is left of messages."""
    request, _ = await truncated(engine, CompletionRequest(prompt, sampling), num_ctx)
    assert isinstance(request.prompt, tuple)
    return [message.content for message in request.prompt]


# Text


TEN = "a b c d e f g h i j"


async def test_text_that_fits_stays_whole(engine: MemoryEngine) -> None:
    assert await text_of(engine, TEN, 11) == TEN
    assert await cut(engine, TEN, 11) == Truncation()


async def test_text_loses_its_middle(engine: MemoryEngine) -> None:
    assert await text_of(engine, TEN, 9) == "a b c d g h i j"
    assert await cut(engine, TEN, 9) == Truncation(tokens=2)


async def test_the_end_of_a_text_is_worth_more_than_its_beginning(engine: MemoryEngine) -> None:
    assert await text_of(engine, TEN, 6) == "a b h i j"


@pytest.mark.parametrize(
    ("num_keep", "left"),
    [
        (None, "a b c d g h i j"),
        (0, "c d e f g h i j"),
        (1, "a d e f g h i j"),
        (99, "a b c d g h i j"),
        (-1, "c d e f g h i j"),
    ],
)
async def test_the_beginning_that_is_kept_may_be_chosen_up_to_a_half(
    engine: MemoryEngine, num_keep: int | None, left: str
) -> None:
    assert await text_of(engine, TEN, 9, Sampling(num_predict=1, num_keep=num_keep)) == left


@pytest.mark.parametrize(
    ("num_predict", "tokens"), [(1, 7), (2, 6), (4, 6), (99, 6), (None, 6), (-1, 6)], ids=lambda value: str(value)
)
async def test_a_quarter_of_the_context_at_most_is_left_to_the_answer(
    engine: MemoryEngine, num_predict: int | None, tokens: int
) -> None:
    left = await text_of(engine, TEN, 8, Sampling(num_predict=num_predict))
    assert len(left.split()) == tokens


async def test_a_prompt_of_tokens_loses_its_middle_too(engine: MemoryEngine) -> None:
    prompt = Tokens((token_of("z "), TEN))
    assert await text_of(engine, prompt, 6) == "z a h i j"
    assert await cut(engine, prompt, 6) == Truncation(tokens=6)


# Messages


async def test_the_oldest_turns_go_first(engine: MemoryEngine) -> None:
    messages = chat("one", "two", "three", "four", "five")  # 2 tokens each, and 1 that opens the answer
    assert await contents_of(engine, messages, 12) == ["one", "two", "three", "four", "five"]
    assert await contents_of(engine, messages, 9) == ["three", "four", "five"]
    assert await cut(engine, messages, 9) == Truncation(messages=2)


async def test_turns_stay_or_go_whole_and_no_more_of_them_than_must(engine: MemoryEngine) -> None:
    messages = chat("one", "two", "three", "four", "five")
    left = [len(await contents_of(engine, messages, num_ctx)) for num_ctx in range(4, 13)]
    assert left == [1, 1, 1, 1, 3, 3, 3, 3, 5]


async def test_messages_of_a_user_in_a_row_are_one_turn(engine: MemoryEngine) -> None:
    messages = (said("user", "one"), said("user", "two"), said("assistant", "three"), said("user", "four"))
    assert await contents_of(engine, messages, 8) == ["four"]


async def test_system_messages_stay_wherever_they_are(engine: MemoryEngine) -> None:
    messages = (said("system", "S"), said("user", "one"), said("system", "T"), said("user", "two"))
    assert await contents_of(engine, messages, 8) == ["S", "T", "two"]


async def test_the_last_message_stays(engine: MemoryEngine) -> None:
    assert await contents_of(engine, chat("one", "two", "three"), 4) == ["three"]


async def test_the_results_of_a_tool_go_with_its_call(engine: MemoryEngine) -> None:
    messages = (
        said("user", "question"),
        said("assistant", "call"),
        said("tool", "result"),
        said("tool", "result"),
        said("assistant", "call 2"),
        said("tool", "result 2"),
    )
    assert await contents_of(engine, messages, 16) == ["question", "call", "result", "result", "call 2", "result 2"]
    assert await contents_of(engine, messages, 14) == [
        "question",
        "call 2",
        "result 2",
    ]  # not a result without its call


async def test_a_tool_result_that_is_the_last_message_stays(engine: MemoryEngine) -> None:
    messages = (said("user", "question"), said("assistant", "call"), said("tool", "result"))
    assert await contents_of(engine, messages, 4) == ["result"]


async def test_the_last_message_loses_its_middle_when_nothing_else_is_left(engine: MemoryEngine) -> None:
    messages = chat("one", "two", TEN, system="S")
    left = await contents_of(engine, messages, 11)  # for the role of each, the system, the answer: 5
    assert left == ["S", "a b c h i j"]
    assert await cut(engine, messages, 11) == Truncation(messages=2, tokens=4)


async def test_an_only_message_is_cut(engine: MemoryEngine) -> None:
    assert await cut(engine, chat(TEN), 9) == Truncation(tokens=4)


async def test_a_cut_message_that_grew_is_cut_again(engine: MemoryEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text that is cut and tokenized again may have more tokens than were left of it."""
    whole = MemoryEngine.detokenize

    async def grown(self: MemoryEngine, tokens: list[int]) -> str:
        return "and so " + await whole(self, tokens)

    monkeypatch.setattr(MemoryEngine, "detokenize", grown)
    request, truncation = await truncated(engine, CompletionRequest(chat(TEN), SHORT_ANSWER), 9)
    assert await prompt_length(engine, request) <= 8
    assert truncation == Truncation(tokens=6)


async def test_a_chat_whose_system_message_fills_the_context_is_refused(engine: MemoryEngine) -> None:
    with pytest.raises(ContextLengthError, match="even without its oldest messages"):
        await cut(engine, chat("one", "two", system=TEN), 8)


async def test_messages_keep_their_images_and_calls(engine: MemoryEngine) -> None:
    last = PromptMessage("user", "look", images=("aGk=",))
    request, _ = await truncated(engine, CompletionRequest((*chat("one", "two"), last), SHORT_ANSWER), IMAGE_TOKENS + 4)
    assert request.prompt == (last,)


# Lengths


async def test_an_image_counts_as_many_tokens(engine: MemoryEngine) -> None:
    request = CompletionRequest((PromptMessage("user", "look", images=("aGk=", "aGk=")),))
    assert image_count(request) == 2
    assert await prompt_length(engine, request) == 2 * IMAGE_TOKENS + 3


@pytest.mark.parametrize("prompt", [TEN, Tokens((1, 2)), chat(TEN)], ids=["text", "tokens", "messages"])
def test_only_messages_show_images(prompt: Prompt) -> None:
    assert image_count(CompletionRequest(prompt)) == 0


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [
        ("äöü", 3),
        (Tokens((1, "abcd", 2)), 4),
        (chat("abcd", "ef"), 3 + 2 * MARK_TOKENS),
        (chat(*["a"] * 20_000), 20_000 * (1 + MARK_TOKENS)),
        ((PromptMessage("assistant", "", tool_calls=(ToolCall("", "abcd", {"a": 1}),)),), MARK_TOKENS + 5),
    ],
    ids=["text", "tokens", "messages", "letters", "calls"],
)
def test_a_length_is_estimated_without_the_engine(prompt: Prompt, tokens: int) -> None:
    assert about_tokens(CompletionRequest(prompt)) == tokens


@pytest.mark.parametrize(
    ("prompt", "text"),
    [("a b", "a b"), (Tokens((token_of("x "), "a b")), "x a b"), (chat("a b"), "<user> a b <assistant> ")],
    ids=["text", "tokens", "messages"],
)
async def test_every_prompt_has_tokens_and_a_text(engine: MemoryEngine, prompt: Prompt, text: str) -> None:
    request = CompletionRequest(prompt)
    assert await prompt_tokens(engine, request) == tokens_of(text)
    assert await rendered(engine, request) == text


async def test_the_token_that_the_engine_adds_itself_is_not_in_the_text(engine: MemoryEngine) -> None:
    prompt = Tokens((token_of("<s> "), "a b"))
    assert await prompt_text(engine, CompletionRequest(prompt), token_of("<s> ")) == "a b"
    assert await prompt_text(engine, CompletionRequest(prompt), None) == "<s> a b"


@pytest.mark.parametrize(
    "prompt",
    ["a " * READABLE, Tokens(("a" * (READABLE + 2),)), chat("short", "a" * (READABLE + 2))],
    ids=["text", "tokens", "messages"],
)
def test_what_is_hundreds_of_times_too_long_is_not_even_read(prompt: Prompt) -> None:
    with pytest.raises(ContextLengthError, match="more than 1,048,576 bytes"):
        check_length(CompletionRequest(prompt), 2048)
    check_length(CompletionRequest(prompt), 128 * 1024)
    check_length(CompletionRequest("a " * (READABLE // 2)), 2048)
