"""Random models for comparisons of memory: what they describe, without an engine."""

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from oprel.formats.gguf import read_gguf
from oprel.telemetry.memory.dims import dims_of
from oprel.telemetry.memory.estimator import MIB, estimate
from oprel.telemetry.memory.load_shape import LoadShape
from tests.fixtures.known_models import laid_out
from tests.fixtures.random_models import MODELS, RANDOM_MODELS, random_header, write_random_model
from tests.fixtures.random_vocabularies import VOCABULARIES, token_table
from tests.fixtures.random_weights import SCALES, Fill, data_of

SMALLEST = "vocab-spm-32k"


@pytest.mark.parametrize("name", RANDOM_MODELS)
def test_a_header_is_one_that_memory_is_estimated_for(name: str) -> None:
    model, header = RANDOM_MODELS[name], random_header(name)
    dims, found = dims_of(header), estimate(header, LoadShape(context=512))
    assert (header.architecture, dims.vocabulary) == (model.architecture, VOCABULARIES[model.vocabulary].size)
    assert found.weights_bytes == sum(tensor.size_bytes for tensor in header.tensors) < 256 * MIB
    assert (len(found.layers), found.rough) == (model.layers, False)
    assert (found.kv_bytes > 0) == (dims.causal and model.heads > 0)
    assert (found.state_bytes > 0) == ("ssm.state_size" in model.keys or model.architecture == "lfm2")


def test_they_are_of_many_kinds() -> None:
    assert len({model.architecture for model in MODELS.values()}) >= 18
    assert len({model.mix.matrices for model in MODELS.values()}) >= 6
    assert len(VOCABULARIES) >= 12


def test_a_file_has_the_described_header_and_all_its_data_and_is_written_once(tmp_path: Path) -> None:
    path = write_random_model(tmp_path, SMALLEST)
    written, described = read_gguf(path), random_header(SMALLEST)
    assert written.tensors == described.tensors
    assert described.metadata.items() <= written.metadata.items()
    assert path.stat().st_size >= written.data_offset + sum(tensor.size_bytes for tensor in written.tensors)
    identity = path.stat().st_ino
    assert (write_random_model(tmp_path, SMALLEST), path.stat().st_ino) == (path, identity)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", VOCABULARIES)
def test_tokens_are_distinct_and_merges_join_them(name: str) -> None:
    vocabulary = replace(VOCABULARIES[name], size=4000, other_merges=min(100, VOCABULARIES[name].other_merges))
    table = token_table(vocabulary)
    assert table == token_table(vocabulary)
    tokens = set(table.tokens)
    assert len(tokens) == len(table.tokens) == len(table.kinds) == vocabulary.size
    assert all({left, right, left + right} <= tokens for left, right in table.merges)
    assert len(set(table.merges)) == len(table.merges) == vocabulary.merges
    assert len(table.scores) == (vocabulary.size if vocabulary.kind in ("llama", "t5") else 0)


@pytest.mark.parametrize("packing", sorted(set(SCALES) - {"MXFP4"}))
def test_the_scales_of_blocks_are_small_numbers(packing: str) -> None:
    (tensor,) = laid_out([("blk.0.ffn_up.weight", packing, (256, 512))])
    data = b"".join(data_of(tensor, Fill.NORMAL))
    assert len(data) == tensor.size_bytes
    scales, size = SCALES[packing], tensor.type.block_bytes
    for block in range(0, len(data), size):
        for scale in struct.unpack_from(f"<{len(scales.relative)}e", data, block + scales.offset):
            assert 0 < abs(scale) < 0.1
