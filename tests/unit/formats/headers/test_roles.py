"""What a file is by its first keys, whatever its name says."""

from pathlib import Path

import pytest

from oprel.formats.gguf import Value, read_gguf
from oprel.formats.headers.remote import START_STEPS, read_start
from oprel.formats.headers.roles import Role, Start
from tests.fixtures.gguf_factory import scalar, write_gguf
from tests.fixtures.gguf_parts import split, write_adapter, write_projector


def start(path: Path) -> tuple[Start, int]:
    """The start of a file, and how many bytes were fetched for it."""
    content, fetched = path.read_bytes(), 0

    def fetch(first: int, end: int) -> bytes:
        nonlocal fetched
        fetched += end - first
        return content[first:end]

    return read_start(fetch, path.name, len(content)), fetched


def test_a_model_is_one_by_whatever_name(tiny: Path, tmp_path: Path) -> None:
    copy = tmp_path / "mtp-mmproj-imatrix.gguf"
    copy.write_bytes(tiny.read_bytes())
    first, fetched = start(copy)
    assert first.role is Role.MODEL and first.width == read_gguf(tiny).embedding_length
    assert fetched == START_STEPS[0]


def test_projectors_and_adapters_are_told_apart(tmp_path: Path) -> None:
    projector, _ = start(write_projector(tmp_path / "Model-Q4_K_M.gguf", width=96))
    assert (projector.role, projector.width) == (Role.PROJECTOR, 96)
    assert start(write_adapter(tmp_path / "Model-Q8_0.gguf", "sun"))[0].role is Role.ADAPTER


def test_a_shard_is_a_model_even_if_it_says_little(tiny: Path, tmp_path: Path) -> None:
    for number, part in enumerate(split(tiny, tmp_path), start=1):
        assert start(part.rename(tmp_path / f"m-0000{number}-of-00002.gguf"))[0].role is Role.MODEL


def test_long_keys_before_those_of_the_architecture_are_read_over(tmp_path: Path) -> None:
    entries = {
        "general.description": scalar("x" * (START_STEPS[0] + 1)),
        "general.architecture": scalar("llama"),
        "llama.block_count": scalar(1),
        "tokenizer.ggml.model": scalar("gpt2"),
    }
    vocabulary, _ = start(write_gguf(tmp_path / "vocabulary.gguf", entries, ()))
    assert vocabulary.role is Role.VOCABULARY


@pytest.mark.parametrize(
    ("metadata", "tensors", "role"),
    [
        ({"general.architecture": "eagle3", "eagle3.block_count": 1}, 15, Role.DRAFT),
        ({"general.architecture": "gemma4-assistant", "gemma4-assistant.block_count": 4}, 60, Role.DRAFT),
        (
            {"general.architecture": "qwen35", "qwen35.block_count": 49, "qwen35.nextn_predict_layers": 1},
            20,
            Role.DRAFT,
        ),
        (
            {"general.architecture": "qwen35", "qwen35.block_count": 49, "qwen35.nextn_predict_layers": 1},
            700,
            Role.MODEL,
        ),
        ({"general.architecture": "qwen3", "qwen3.block_count": 36}, 0, Role.VOCABULARY),
        ({"general.type": "imatrix"}, 400, Role.IMPORTANCE_MATRIX),
        ({"general.architecture": "controlvector"}, 31, Role.CONTROL_VECTOR),
        ({"general.architecture": "flux"}, 780, Role.COMPONENT),
        ({"general.architecture": 7}, 780, Role.COMPONENT),
        ({}, 10, Role.COMPONENT),
    ],
)
def test_roles(metadata: dict[str, Value], tensors: int, role: Role) -> None:
    assert Start(tensors, metadata).role is role
