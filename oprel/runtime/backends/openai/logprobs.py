"""The probabilities of an answer's tokens, from what an engine reports of each text that it releases.

llama-server (b11549) reports one entry for each released text, that of its last token: tokens that end within a
character have none. They are told apart again by tokenizing the text, as far as the number of tokens fits.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from oprel.core.completion import Chunk, Logprob
from oprel.runtime.backends.openai import types as wire

TokenizePieces = Callable[[str], Awaitable[Sequence[wire.TokenPiece]]]


def token_logprobs(entries: Sequence[wire.EngineLogprob], alternatives: int) -> tuple[Logprob, ...]:
    """The entries of a piece of an answer."""
    return tuple(_logprob(entry, alternatives) for entry in entries)


async def with_split_entry(chunk: Chunk, tokenize: TokenizePieces) -> Chunk:
    """The piece of an answer, with an entry for each token where it has more tokens than entries."""
    if not chunk.unreported or not chunk.logprobs:
        return chunk
    *before, last = chunk.logprobs
    pieces = _without_added_space(last.token, await tokenize(last.token)) if not before else ()
    if len(pieces) == 1 + chunk.unreported and pieces[-1].id == chunk.tokens[-1]:
        return replace(chunk, logprobs=tuple(_split(last, [spelled_by(piece) for piece in pieces])))
    return replace(chunk, logprobs=(*before, replace(last, merged=True)))


def spelled(entry: wire.EngineLogprob) -> bytes:
    return entry.token.encode() if entry.bytes is None else bytes(entry.bytes)


def spelled_by(piece: wire.TokenPiece) -> bytes:
    return piece.piece.encode() if isinstance(piece.piece, str) else bytes(piece.piece)


def _without_added_space(text: str, pieces: Sequence[wire.TokenPiece]) -> Sequence[wire.TokenPiece]:
    """Without the space that SentencePiece puts in front of every text."""
    is_added = bool(pieces) and spelled_by(pieces[0]) == b" " and not text.startswith(" ")
    return pieces[1:] if is_added else pieces


def _split(merged: Logprob, spellings: Sequence[bytes]) -> list[Logprob]:
    """An entry for each token. The engine reports the probability of the last one only."""
    *hidden, last = [Logprob(text.decode(errors="replace"), 0.0, tuple(text), merged=True) for text in spellings]
    return [*hidden, replace(last, logprob=merged.logprob, top=merged.top, merged=False)]


def _logprob(entry: wire.EngineLogprob, alternatives: int) -> Logprob:
    top = entry.top_logprobs[:alternatives]  # llama-server sends one even if none is requested
    return Logprob(entry.token, entry.logprob, tuple(spelled(entry)), tuple(_logprob(other, 0) for other in top))
