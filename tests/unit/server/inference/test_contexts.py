"""Ollama's `context`, and how often the engine is asked for it."""

from dataclasses import dataclass, field, replace

import pytest

from oprel.core.completion import CompletionRequest, PromptMessage
from tests.fixtures.memory_engine import Bytewise, MemoryEngine, tokens_of
from tests.fixtures.pool import MakePool

CHAT = CompletionRequest((PromptMessage("user", "Hello"),))
HELLO = CompletionRequest("Hello")
SCHEMA = replace(CHAT, schema={"type": "string"})


@dataclass(eq=False, kw_only=True)
class CountingEngine(MemoryEngine):
    """It notes the calls that are not answers."""

    calls: list[str] = field(default_factory=list)

    async def tokenize(self, text: str, *, parse: bool = True, begin: bool = True) -> list[int]:
        self.calls.append(f"tokenize {text}")
        return await super().tokenize(text, parse=parse, begin=begin)

    async def apply_template(self, request: CompletionRequest) -> str:
        self.calls.append("apply template")
        return await super().apply_template(request)


PROMPT = ["apply template", "tokenize <user> Hello <assistant> "]


@pytest.mark.parametrize(
    ("request_", "before", "prompt", "calls"),
    [
        pytest.param(CHAT, (), "<user> Hello <assistant> ", PROMPT, id="messages"),
        pytest.param(HELLO, (), "Hello", ["tokenize Hello"], id="text"),
        pytest.param(
            CHAT, tuple(tokens_of("A tale ")), "A tale <user> Hello <assistant> ", PROMPT, id="a context before"
        ),
    ],
)
async def test_only_the_prompt_is_tokenized(
    make_pool: MakePool, request_: CompletionRequest, before: tuple[int, ...], prompt: str, calls: list[str]
) -> None:
    engine = CountingEngine(words=("Once ", "upon"))
    answer = await make_pool(engine).ask(request_, context=before)
    assert answer.done and answer.done.context == [*tokens_of(prompt), *tokens_of("Once upon")]
    assert engine.calls == calls


async def test_an_answer_whose_tokens_are_not_all_known_is_tokenized(make_pool: MakePool) -> None:
    engine = CountingEngine(words=("a", "ü"), vocabulary=Bytewise())
    answer = await make_pool(engine).ask(HELLO, context=())
    assert answer.done and answer.done.context == Bytewise().tokens("Helloaü")
    assert engine.calls == ["tokenize aü", "tokenize Hello"]


async def test_a_structured_answer_is_tokenized(make_pool: MakePool) -> None:
    engine = CountingEngine(words=('"Once"',))
    answer = await make_pool(engine).ask(SCHEMA, context=())
    assert answer.done and answer.done.context == tokens_of('<user> Hello <assistant> "Once"')
    assert engine.calls == ['tokenize "Once"', *PROMPT]


async def test_the_context_of_an_answer_that_outlived_its_engine_is_that_of_one_engine(make_pool: MakePool) -> None:
    engine = CountingEngine(words=("Once ", "upon ", "a ", "time"), deaths=[2])
    answer = await make_pool(engine).ask(CHAT, context=())
    assert answer.done and answer.done.recoveries == 1
    assert answer.done.context == tokens_of("<user> Hello <assistant> Once upon a time")
    assert engine.calls[-2:] == PROMPT
