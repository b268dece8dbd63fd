"""guide's own byte-level BPE, made from its training text.

Pieces are split as GPT-2 splits them. A space is a token of its own, except before common words: so a name is made of
the same tokens in a sentence and between quotes, and can be copied token by token. Digits and line ends never merge.
Words of lists, which must be copied, get no token for themselves: those kept out of training are then made of the same
pieces as the others, and every piece is copied often.
"""

import collections
import json
import random
from pathlib import Path

import data
import regex
import tools_data
import usage
import words
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from words import is_held

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKS = ("<tool_call>", "</tool_call>", "<think>", "</think>", "<tools>", "</tools>", "<tool_response>",
         "</tool_response>")  # fmt: skip
END = "<|im_end|>"
SPACE = "Ġ"  # GPT-2's stand-in for a space
SUBWORDS, SPACED = 1150, 500  # merges within words, and merges of a space with a word
UNAVOIDABLE = 40  # words so frequent that they merge with a space though words to be copied may begin like them
SAMPLES = 12_000
PIECE = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
SPECIAL = regex.compile("|".join(map(regex.escape, (*CONTROL, *MARKS))))


def make(seed: int = 7) -> Tokenizer:
    """Train on conversations of rules alone; equal seeds give equal tokenizers."""
    rng = random.Random(seed)
    copied = _listed() - _spoken()
    counted: collections.Counter[str] = collections.Counter()
    spaced: collections.Counter[str] = collections.Counter()
    for _ in range(SAMPLES):
        text = "".join(piece for piece, _ in data.written(data.conversation(rng)))
        for piece in PIECE.findall(SPECIAL.sub(" ", text)):
            bare = piece.removeprefix(" ")
            if bare.strip() and not bare[0].isdigit() and bare.lower() not in copied:
                counted[bare] += 1
                spaced[bare] += piece != bare
    held = {word for word in _listed() if is_held(word) or is_held(word.capitalize())}
    merges = _without(_subwords(counted), held)
    tokens = {a + b for a, b in merges} | set(pre_tokenizers.ByteLevel.alphabet())
    common = [word for word, _ in sorted(spaced.items(), key=lambda item: (-item[1], item[0])) if word in tokens]
    beginnings = _beginnings(build(merges), rng)
    kept = [word for rank, word in enumerate(common) if rank < UNAVOIDABLE or word not in beginnings]
    merges += [(SPACE, word) for word in kept[:SPACED]]
    return build(merges)


def _listed() -> set[str]:
    """The words of all lists that questions draw from."""
    lists = (words.NAMES, words.COLOURS, words.CITIES, words.FOODS, words.ANIMALS, words.OBJECTS, words.TOPICS,
             words.FOREIGN, tools_data.LANGUAGES, tools_data.UNITS, tools_data.GENRES, tools_data.ROOMS,
             tools_data.NOUNS, tools_data.KINDS, tools_data.VERBS, usage.STEMS, data.OWN_KEYS,
             data.THE_KEYS)  # fmt: skip
    return {word.lower() for items in lists for item in items for word in item.split()}


def _spoken() -> set[str]:
    """The words that guide itself says, or that questions about oprel are made of."""
    texts = [text for one in usage.INTENTS for text in (one.answer, *usage.MORE_WANTS[one.name])]
    return {word.lower() for text in texts for word in regex.findall(r"\p{L}+", text)}


def _beginnings(tokenizer: Tokenizer, rng: random.Random) -> set[str]:
    """The first pieces of words that must be copied: with a space in front they are to stay the same tokens."""
    made = {words.invented(rng, False) for _ in range(SAMPLES)} | (_listed() - _spoken())
    return {tokenizer.encode(form).tokens[0] for word in sorted(made) for form in (word, word.capitalize())}


def _without(merges: list[tuple[str, str]], banned: set[str]) -> list[tuple[str, str]]:
    """The merges that lead to no banned word."""
    made = set(pre_tokenizers.ByteLevel.alphabet())
    kept = []
    for first, second in merges:
        if first in made and second in made and (first + second).lower() not in banned:
            made.add(first + second)
            kept.append((first, second))
    return kept


def _subwords(counted: collections.Counter[str]) -> list[tuple[str, str]]:
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=256 + SUBWORDS, initial_alphabet=alphabet, show_progress=False)
    learner.train_from_iterator((word for word, count in sorted(counted.items()) for _ in range(count)), trainer)
    return [tuple(merge) for merge in json.loads(learner.to_str())["model"]["merges"]]


def build(merges: list[tuple[str, str]]) -> Tokenizer:
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *dict.fromkeys(a + b for a, b in merges)]
    tokens += [*MARKS, *CONTROL]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([*MARKS, *CONTROL])
    return tokenizer


def parts(tokenizer: Tokenizer) -> tuple[list[str], list[str]]:
    """The tokens in order, and the merges in llama.cpp's notation."""
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    vocabulary = tokenizer.get_vocab()
    return sorted(vocabulary, key=lambda token: vocabulary[token]), [" ".join(merge) for merge in merges]


def encode(tokenizer: Tokenizer, made: data.Conversation) -> tuple[list[int], list[float]]:
    """Tokens and the weight of the loss on each of them."""
    tokens: list[int] = []
    weights: list[float] = []
    for text, weight in data.written(made):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        tokens += ids
        weights += [weight] * len(ids)
    return tokens, weights


if __name__ == "__main__":
    target = Path("tokenizer.json")
    make().save(str(target))
    print(f"wrote {target}")
