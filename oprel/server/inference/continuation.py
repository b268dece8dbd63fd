"""How an answer outlives its engine: what was told so far, and how another engine goes on from there.

- Nothing said yet: the request is sent again.
- Plain text, of which the engine told every token: the prompt and those tokens are the prompt of the rest, which costs
  their prefill and nothing else. At temperature 0 the text is the one that an undisturbed engine makes.
- Thoughts, calls of tools or a grammar, whose state no engine takes up half-way: the request is sent again with the
  same seed, and what was told already is left out, as long as it is the same.
"""

from dataclasses import dataclass, field, replace

import httpx

from oprel.core.completion import Chunk, CompletionRequest, Tokens, Usage
from oprel.runtime.backends import openai_http
from oprel.runtime.engine import NotRepeated

MOST = 2  # engines that one answer may outlive: it may be what kills them


@dataclass
class ResumableAnswer:
    """One answer, told by one engine after another. `request` is what the next one is asked."""

    request: CompletionRequest
    recoveries: int = 0
    _asked: CompletionRequest = field(init=False)
    _told: list[tuple[str, str, str]] = field(default_factory=list)  # of each chunk: text, reasoning, calls
    _tokens: list[int] = field(default_factory=list)
    _spelled: bytearray = field(default_factory=bytearray)  # by the tokens: all of the text, if every one was told
    _to_skip: int = 0
    _before: int = 0  # tokens that were told by earlier engines, and are in the prompt of this one
    _goes_on: bool = False

    def __post_init__(self) -> None:
        self._asked = self.request

    @property
    def has_begun(self) -> bool:
        return bool(self._told)

    @property
    def can_go_on(self) -> bool:
        return self.recoveries < MOST and (self.request.n == 1 or not self.has_begun)

    def ask(self, request: CompletionRequest) -> None:
        """Begin again with another request: nothing was told yet."""
        self.request = self._asked = request

    def hear(self, chunk: Chunk) -> Chunk | None:
        """The chunk as it is to be told; None when it was told before. Raises NotRepeated when it is another one."""
        if chunk.finish is not None:
            if self._to_skip:
                raise NotRepeated("the next engine did not repeat the answer")
            return replace(chunk, usage=self._counted(chunk.usage)) if self._goes_on else chunk
        words = (chunk.text, chunk.reasoning, chunk.called)
        if self._to_skip:
            if words != self._told[len(self._told) - self._to_skip]:
                raise NotRepeated("the next engine did not repeat the answer")
            self._to_skip -= 1
            return None
        self._told.append(words)
        self._tokens += chunk.tokens
        self._spelled += chunk.spelled
        return replace(chunk, event=b"") if self._goes_on else chunk

    async def go_on(self, http: httpx.AsyncClient) -> None:
        """Make `request` what another engine is to be asked. Raises EngineRefused or EngineLost."""
        self.recoveries += 1
        self._goes_on = self._is_plain and self._tokens_left != 0
        self._to_skip = 0 if self._goes_on else len(self._told)
        self._before = len(self._tokens)
        self.request = await self._rest(http) if self._goes_on else self._asked

    def repeat(self) -> bool:
        """Ask for the whole answer again, as its rest has outgrown the context; False if that was not asked for."""
        asked_for_rest, self._goes_on = self._goes_on, False
        if asked_for_rest:
            self.request, self._to_skip = self._asked, len(self._told)
        return asked_for_rest

    @property
    def _is_plain(self) -> bool:
        """True when the text so far is all there is, and every token of it was told."""
        text = "".join(text for text, _, _ in self._told)
        special = self._asked.tools or self._asked.schema is not None or self._shows_images
        return not special and bool(text) and self._spelled == text.encode() and not any(told[1] for told in self._told)

    @property
    def _shows_images(self) -> bool:
        """A prompt made of text and tokens could not."""
        prompt = self._asked.prompt
        return not isinstance(prompt, str | Tokens) and any(message.images for message in prompt)

    @property
    def _tokens_left(self) -> int:
        """Negative when there is no limit."""
        most = self._asked.sampling.num_predict
        return -1 if most is None or most < 0 else max(0, most - len(self._tokens))

    async def _rest(self, http: httpx.AsyncClient) -> CompletionRequest:
        match self._asked.prompt:
            case str(text):
                before: tuple[str | int, ...] = (text,)
            case Tokens(parts):
                before = parts
            case _:
                before = (await openai_http.apply_template(http, self._asked),)
        sampling = replace(self._asked.sampling, num_predict=self._tokens_left)
        return replace(self._asked, prompt=Tokens((*before, *self._tokens)), sampling=sampling)

    def _counted(self, usage: Usage) -> Usage:
        """What was told by earlier engines was a prompt to the last one."""
        return replace(
            usage,
            prompt_tokens=usage.prompt_tokens - self._before,
            cached_tokens=0,
            completion_tokens=usage.completion_tokens + self._before,
        )
