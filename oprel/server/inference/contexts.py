"""Ollama's `context`: the tokens of a prompt and of its answer, from what is known of them."""

from oprel.core.completion import CompletionRequest
from oprel.runtime.engine import Engine, EngineLost, EngineRefused
from oprel.server.inference.answers.continuation import ResumableAnswer
from oprel.server.inference.truncation import prompt_tokens


async def context_tokens(
    engine: Engine, request: CompletionRequest, text: str, answer: ResumableAnswer | None
) -> list[int] | None:
    """The tokens of the request's prompt and of its answer `text`; `answer` is how the engine made it.

    None when the engine cannot say: the answer itself is whole by now.
    """
    try:
        generated = answer.reported_tokens(text) if answer else None
        if generated is None:
            generated = await engine.tokenize(text, parse=False, begin=False) if text else []
        return [*await prompt_tokens(engine, request), *generated]
    except (EngineRefused, EngineLost):
        return None
