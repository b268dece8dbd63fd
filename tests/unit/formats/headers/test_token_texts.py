"""Texts of single tokens, and which of them a file declares as ends."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from oprel.formats import byte_reader
from oprel.formats.gguf import GGUFFile, SkippedArray, read_gguf
from oprel.formats.headers.token_texts import END_KEYS, TOKENS, declared_ends


def declaring(header: GGUFFile, token: object) -> GGUFFile:
    return replace(header, metadata={**header.metadata, END_KEYS[0]: token})  # type: ignore[dict-item]


@pytest.mark.parametrize("chunk", [64, 1000, byte_reader.CHUNK_BYTES])
def test_every_token_is_the_one_that_a_whole_reading_finds(
    tiny: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(byte_reader, "CHUNK_BYTES", chunk)
    header, tokens = read_gguf(tiny), read_gguf(tiny, every_array=True).metadata[TOKENS]
    assert isinstance(header.metadata[TOKENS], SkippedArray) and isinstance(tokens, tuple)
    for token in (0, 1, len(tokens) - 1, *random.Random(1).sample(range(len(tokens)), 20)):
        assert declared_ends(declaring(header, token)) == {tokens[token]}


def test_a_file_declares_its_ends(tiny: Path) -> None:
    assert declared_ends(read_gguf(tiny)) == declared_ends(read_gguf(tiny, every_array=True)) == {"<|im_end|>"}


@pytest.mark.parametrize("token", [-1, 10**9, "2", None])
def test_a_token_that_the_file_has_not_is_none(tiny: Path, token: object) -> None:
    assert declared_ends(declaring(read_gguf(tiny), token)) == frozenset()


def test_a_file_that_is_gone_declares_none(tiny: Path, tmp_path: Path) -> None:
    header = replace(read_gguf(tiny), path=tmp_path / "gone.gguf")
    assert declared_ends(header) == frozenset()
