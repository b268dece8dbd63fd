"""How many cells of an engine's KV cache a request reserves, and how long its answer may be with them.

All requests of an engine share its cells, and each starts with an equal share. A longer prompt waits for more. The
engine is asked to end an answer where its reservation ends, so that the cells never run out. If more of it is
requested, it continues in free cells; else it forgets its oldest tokens, or ends, as in a context of that size. A
prompt that is surely short is not measured: its answer ends after half of the reservation at first.

Thoughts, calls and what a schema shapes cannot continue. They take free cells before they begin, unless others wait for
some: as many as they may need, or where that has no bound, half of all, if that leaves a share for the next request.
"""

from dataclasses import dataclass, replace

from oprel.core.completion import Chunk, CompletionRequest, Finish, Tokens
from oprel.runtime.engine import EngineRefused
from oprel.server.inference.answers.continuation import ResumableAnswer
from oprel.server.inference.engine_calls import CONTEXT_EXCEEDED, EngineCall
from oprel.server.inference.truncation import about_tokens, ends, prompt_length, prompt_tokens

ENDLESS = 1 << 40  # tokens: the limit of an answer without one
MARKS = 64  # bytes that templates put around a message, rather more than less
ANSWER_PART = 2  # a long prompt reserves a share by this number for its answer, which may get more later


@dataclass(frozen=True, kw_only=True)
class CellNeeds:
    """What a request needs in an engine: cells for its prompt, and for each of `answers` of `answer_tokens`.

    The engine has `cells`, which are a `share` for each slot. `most` is what prompt and answer may use together.
    """

    prompt_tokens: int
    answer_tokens: int
    answers: int
    cells: int
    share: int
    most: int

    @property
    def first(self) -> int:
        """Cells to reserve before the answer begins: its share, or what a long prompt and some of the answer take."""
        answer = min(self.answer_tokens, self.share // ANSWER_PART)
        long = min(self.most, self.prompt_tokens + self.answers * answer)
        return min(self.cells, max(self.answers * self.share, long))

    @property
    def whole(self) -> int:
        """Cells for all of it, or 0 if that is more than it may have."""
        whole = self.prompt_tokens + self.answers * self.answer_tokens
        return whole if whole <= self.most else 0

    @property
    def at_last(self) -> int:
        """Cells that the answer may grow to. If it never fits as a whole, it leaves a share to others."""
        return self.whole or min(self.most, self.cells - self.share)

    def answer_length(self, cells: int) -> int:
        """The tokens of each answer that fit into reserved cells behind the prompt, which all answers share."""
        longest = min((cells - self.prompt_tokens) // self.answers, self.most - self.prompt_tokens)
        return max(1, min(self.answer_tokens, longest))


async def reserved(call: EngineCall, answer: ResumableAnswer) -> CompletionRequest:
    """What the engine is asked: the answer's request, with cells reserved, and an end to it before they run out.

    Waits for the cells. Raises EngineRefused for a prompt that is too long, and EngineLost.
    """
    lease, request = call.lease, answer.request
    if not lease.loaded.shares_cells or _forgets_by_itself(call, request):
        return request  # the engine itself limits it
    half = min(call.cells, lease.num_ctx) // 2
    if request.tell_tokens and not answer.is_extended and _longest(call, request) <= half:
        return _limited(request, min(half, _limit(request)))
    needs = None
    while needs is None or needs.cells != lease.loaded.slots.cells:  # the engine may have a smaller successor by now
        with lease.engine.at_work(about_tokens(request)):
            needs = _needs(call, request, await prompt_length(lease.engine, request))
        if needs.prompt_tokens >= needs.most:
            message = f"it has {needs.prompt_tokens} tokens, and the context {needs.most}"
            raise EngineRefused(400, CONTEXT_EXCEEDED, message, needs.prompt_tokens)
        await call.reserve(needs.prompt_tokens + 1 if answer.is_extended else needs.first)
    if not request.tell_tokens:  # it cannot grow later
        call.grow(needs.whole or needs.cells // 2, leaving=0 if needs.whole else needs.share)
    if _forgets_by_itself(call, request) or not needs.answer_tokens:
        return request
    return _limited(request, needs.answer_length(call.cells))


def _forgets_by_itself(call: EngineCall, request: CompletionRequest) -> bool:
    """Whether the request may use all that the engine gives to one, which then forgets the oldest tokens of it."""
    return request.shift and request.n == 1 and call.cells >= call.lease.loaded.decision.slot_context


def _longest(call: EngineCall, request: CompletionRequest) -> int:
    """More tokens than the prompt has, without asking the engine: its bytes, and what a template may put around it."""
    match request.prompt:
        case str(text):
            return len(text.encode())
        case Tokens(parts):
            return sum(1 if isinstance(part, int) else len(part.encode()) for part in parts)
    around = len((call.lease.loaded.model.chat_template or "").encode())
    return around + sum(len(message.content.encode()) + MARKS for message in request.prompt)


def _limited(request: CompletionRequest, tokens: int) -> CompletionRequest:
    return replace(request, sampling=replace(request.sampling, num_predict=tokens))


def lacks_cells(last: Chunk, sent: CompletionRequest, answer: ResumableAnswer) -> bool:
    """Whether the answer ended with its reservation, while more of it was requested."""
    return last.finish is Finish.LENGTH and 0 < _limit(sent) < _limit(answer.request)


async def extended(call: EngineCall, answer: ResumableAnswer, last: Chunk) -> bool:
    """Have the answer go on with more cells, or without its oldest tokens. False if it ends here.

    Only plain text goes on: no engine resumes thoughts, calls or a grammar half-way. Raises EngineLost.
    """
    engine, request = call.lease.engine, answer.request
    tokens = await answer.tokens_so_far(engine)
    if not tokens:
        return False
    needs = _needs(call, request, last.usage.prompt_tokens)
    has_more = not answer.is_extended and needs.prompt_tokens + len(tokens) + 1 < call.cells  # it was not measured
    has_grown = has_more or call.grow(min(needs.at_last, call.cells + needs.share))
    if not (has_grown or request.shift):
        return False
    await answer.extend(engine, tokens, last.usage)
    if not has_grown:
        whole = await prompt_tokens(engine, answer.request)
        answer.forget(ends(whole, len(whole) // 2, request.sampling.num_keep))
    return True


def _needs(call: EngineCall, request: CompletionRequest, prompt_tokens: int) -> CellNeeds:
    slots, most = call.lease.loaded.slots, call.lease.num_ctx
    return CellNeeds(
        prompt_tokens=prompt_tokens,
        answer_tokens=_limit(request),
        answers=request.n,
        cells=slots.cells,
        share=slots.share,
        most=most,
    )


def _limit(request: CompletionRequest) -> int:
    """The most tokens that an answer is requested to have."""
    length = request.sampling.num_predict
    return ENDLESS if length is None or length < 0 else length
