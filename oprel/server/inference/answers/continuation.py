"""How an answer outlives its engine: what was sent so far, and how another engine continues from there.

- Nothing was sent yet: the request is repeated.
- Plain text whose tokens are known: the prompt and those tokens are the prompt of the rest. That costs their prefill
  and nothing else. At temperature 0 the text is what an undisturbed engine would have made. Tokens that the engine made
  and did not report, because they end within a character, are restored from the text, as far as their number fits.
- Thoughts, tool calls or a grammar, whose state no engine can resume half-way: the request is repeated with the same
  seed, and what was already sent is skipped, as long as it is the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from oprel.core.completion import Chunk, Chunks, CompletionRequest, Tokens, Usage
from oprel.runtime.engine import Engine, NotRepeated

SentChunk = tuple[str, str, str, tuple[int, ...], int]
"""Of a chunk that was sent: text, reasoning, calls, tokens, unreported. One for each token: no dataclass is as fast."""

MOST = 2  # engines that one answer may outlive: it may be what kills them


@dataclass(frozen=True)
class ReleasedText:
    """A text that the engine released at once, and its tokens as far as it reported them: the last one at least."""

    text: str
    tokens: tuple[int, ...]
    unreported: int

    def followed_by(self, text: str, tokens: tuple[int, ...], unreported: int) -> "ReleasedText":
        return ReleasedText(self.text + text, (*self.tokens, *tokens), self.unreported + unreported)

    async def restored(self, engine: Engine) -> Sequence[int] | None:
        """All of its tokens, in order. None if the text has another number of them. Raises EngineLost."""
        if not self.unreported:
            return self.tokens
        if not self.tokens:
            return None
        tokens = await engine.tokenize(self.text, parse=False, begin=False)
        count = len(self.tokens) + self.unreported
        if len(tokens) == count + 1 and not (await engine.detokenize(tokens[:1])).strip():
            tokens = tokens[1:]  # the space that SentencePiece puts in front of every text
        return tokens if len(tokens) == count and tokens[-1] == self.tokens[-1] else None


@dataclass
class ResumableAnswer:
    """One answer, made by one engine after another. `request` is what the next one is asked."""

    request: CompletionRequest
    recoveries: int = 0
    _original: CompletionRequest = field(init=False)
    _sent: list[SentChunk] = field(default_factory=list)
    _starts: set[int] = field(default_factory=set)  # how many chunks were sent when an engine was asked again
    _tokens: list[int] = field(default_factory=list)  # that the next engine continues from
    _spelled: bytearray = field(default_factory=bytearray)  # by the tokens: all of the text, if every one was reported
    _to_skip: int = 0
    _before: int = 0  # tokens that earlier engines made, and that are in the prompt of this one
    _continues: bool = False
    is_cut: bool = False  # where the reserved cells end; the next request continues it
    is_extended: bool = False  # the engine that made it so far goes on, with more cells or without the oldest tokens
    _earlier: Usage | None = None  # of what that engine made before
    _kept: tuple[int, ...] = ()  # all that it saw of the prompt and the first `_kept_at` tokens, if it forgot others
    _kept_at: int = 0

    def __post_init__(self) -> None:
        self._original = self.request

    @property
    def whole_request(self) -> CompletionRequest:
        """The request for all of the answer, with a prompt that fits."""
        return self._original

    @property
    def has_forgotten(self) -> bool:
        """Whether the engine made it without the oldest tokens, at last."""
        return bool(self._kept)

    @property
    def has_begun(self) -> bool:
        return bool(self._sent)

    @property
    def can_go_on(self) -> bool:
        return self.recoveries < MOST and (self.request.n == 1 or not self.has_begun)

    def restart(self, request: CompletionRequest) -> None:
        """Begin again with another request: nothing was sent yet."""
        self.request = self._original = request
        self.is_extended = False

    def receive_all(self, chunks: Chunks) -> list[Chunk]:
        """The chunks to send, of those that arrived together."""
        return [sent for chunk in chunks if (sent := self.receive(chunk))]

    def receive(self, chunk: Chunk) -> Chunk | None:
        """The chunk to send. None while replaying text already sent. Raises NotRepeated if the replay diverges."""
        if chunk.finish is not None:
            if self._to_skip:
                raise NotRepeated("the next engine did not repeat the answer")
            return replace(chunk, usage=self._whole_usage(chunk.usage)) if self._continues else chunk
        if self._to_skip:
            if (chunk.text, chunk.reasoning, chunk.called) != self._sent[len(self._sent) - self._to_skip][:3]:
                raise NotRepeated("the next engine did not repeat the answer")
            self._to_skip -= 1
            return None
        self._sent.append((chunk.text, chunk.reasoning, chunk.called, chunk.tokens, chunk.unreported))
        self._spelled += chunk.spelled
        if not self._continues:
            return chunk
        used = chunk.used
        return replace(chunk, event=b"", used=(lambda: self._whole_usage(used())) if used else None)

    async def go_on(self, engine: Engine) -> None:
        """Make `request` what `engine`, the next one, is to be asked. Raises EngineRefused or EngineLost."""
        self.recoveries += 1
        self.is_extended = False
        tokens = await self._restored(engine) if self._is_plain else None
        self._tokens = tokens or []
        self._starts.add(len(self._sent))
        self._continues = tokens is not None and self._tokens_left != 0
        self._to_skip = 0 if self._continues else len(self._sent)
        self._before = len(self._tokens)
        self.request = await self._rest(engine) if self._continues else self._original

    async def tokens_so_far(self, engine: Engine) -> list[int] | None:
        """All that the answer has, if another request can continue it. Raises EngineLost."""
        return await self._restored(engine) if self._is_plain and not self._to_skip else None

    def reported_tokens(self, text: str) -> list[int] | None:
        """The tokens of the answer, if it is `text` and the engine reported every one of them."""
        released, held = self._released() if self._is_plain else ([], None)
        is_whole = not (held and held.tokens) and not any(each.unreported for each in released)
        if not is_whole or "".join(each.text for each in released) != text:
            return None
        return [token for each in released for token in each.tokens]

    async def extend(self, engine: Engine, tokens: list[int], usage: Usage) -> None:
        """Make `request` what the same engine is to be asked for the rest, after it reported `usage` for `tokens`."""
        self._earlier = self._whole_usage(usage) if self._continues else usage
        self.is_extended = self._continues = True
        self._tokens, self._before = tokens, len(tokens)
        self._starts.add(len(self._sent))
        self.request = await self._rest(engine)

    def forget(self, kept: Sequence[int]) -> None:
        """Of prompt and answer so far, have the engine see these tokens only."""
        self._kept, self._kept_at = tuple(kept), len(self._tokens)
        self.request = replace(self.request, prompt=Tokens(self._kept))

    def repeat(self) -> bool:
        """Ask for the whole answer again, as its rest has outgrown the context; False if the rest was not asked for."""
        was_continuing, self._continues, self.is_extended = self._continues, False, False
        if was_continuing:
            self.request, self._to_skip = self._original, len(self._sent)
            self._kept, self._kept_at = (), 0
        return was_continuing

    async def _restored(self, engine: Engine) -> list[int] | None:
        """The tokens of the text so far. Those of a text that was held back are generated again."""
        tokens = list[int]()
        restored = dict[ReleasedText, Sequence[int] | None]()  # an answer may repeat a character often
        released_texts, _ = self._released()
        for released in released_texts:
            if released not in restored:
                restored[released] = await released.restored(engine)
            whole = restored[released]
            if whole is None:
                return None
            tokens += whole
        return tokens

    def _released(self) -> tuple[list[ReleasedText], ReleasedText | None]:
        """The texts that engines released, and the tokens of one that the last engine holds back: a stop may begin."""
        texts: list[ReleasedText] = []
        held: ReleasedText | None = None
        for number, (text, _, _, tokens, unreported) in enumerate(self._sent):
            if number in self._starts:
                held = None
            held = held.followed_by(text, tokens, unreported) if held else ReleasedText(text, tokens, unreported)
            if text:
                texts.append(held)
                held = None
        return texts, None if len(self._sent) in self._starts else held

    @property
    def _is_plain(self) -> bool:
        """True when the text so far is all there is, and the engine reported what spells it."""
        text, (_, held) = "".join(text for text, *_ in self._sent), self._released()
        special = self._original.tools or self._original.schema is not None or self._shows_images
        has_thoughts = any(reasoning for _, reasoning, *_ in self._sent)
        has_spare_logprobs = bool(held and held.tokens) and self._original.top_logprobs is not None
        is_spelled = bool(text) and self._spelled == text.encode()
        return is_spelled and not (special or has_thoughts or has_spare_logprobs)

    @property
    def _shows_images(self) -> bool:
        """A prompt made of text and tokens could not."""
        prompt = self._original.prompt
        return not isinstance(prompt, str | Tokens) and any(message.images for message in prompt)

    @property
    def _tokens_left(self) -> int:
        """Negative when there is no limit."""
        most = self._original.sampling.num_predict
        return -1 if most is None or most < 0 else max(0, most - len(self._tokens))

    async def _rest(self, engine: Engine) -> CompletionRequest:
        before = self._kept or await self._prompt_parts(engine)
        sampling = replace(self._original.sampling, num_predict=self._tokens_left)
        return replace(self._original, prompt=Tokens((*before, *self._tokens[self._kept_at :])), sampling=sampling)

    async def _prompt_parts(self, engine: Engine) -> tuple[str | int, ...]:
        match self._original.prompt:
            case str(text):
                return (text,)
            case Tokens(parts):
                return parts
        return (await engine.apply_template(self._original),)

    def _whole_usage(self, usage: Usage) -> Usage:
        """With the tokens made earlier, which were a prompt to the last request, counted as the answer's."""
        earlier = self._earlier or Usage(prompt_tokens=usage.prompt_tokens - self._before)
        return Usage(
            prompt_tokens=earlier.prompt_tokens,
            cached_tokens=earlier.cached_tokens,
            completion_tokens=usage.completion_tokens + self._before,
            prompt_ns=earlier.prompt_ns + usage.prompt_ns,
            completion_ns=earlier.completion_ns + usage.completion_ns,
        )
