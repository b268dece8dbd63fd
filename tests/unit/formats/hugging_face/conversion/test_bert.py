"""The conversion of BERT folders: the file it writes, and what it refuses."""

import json
from pathlib import Path

import pytest

from oprel.core.exceptions import InvalidModelError, UnsupportedError
from oprel.formats.detect import detect
from oprel.formats.gguf import read_gguf
from oprel.formats.hugging_face.conversion.bert import conversion, converts, is_bert
from oprel.formats.hugging_face.conversion.wordpiece import read_wordpiece
from tests.fixtures.hf_bert import PIECES, write_tiny_bert
from tests.fixtures.hf_llama import write_tiny_llama


def tokens_of(path: Path) -> tuple[object, ...]:
    tokens = read_gguf(path, every_array=True).metadata["tokenizer.ggml.tokens"]
    assert isinstance(tokens, tuple)
    return tokens


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_the_header_is_known_before_the_file_is_written(tmp_path: Path, dtype: str) -> None:
    plan = conversion(write_tiny_bert(tmp_path / "model", dtype=dtype, prompts={"query": "query: "}))
    path = tmp_path / "model.gguf"
    with path.open("wb") as file:
        plan.write(file)
    assert read_gguf(path) == plan.header(path)
    assert path.stat().st_size == plan.header(path).size_bytes
    assert plan.header(path).quantization == dtype


def test_tokens_are_spelled_as_llama_cpp_has_them(tmp_path: Path) -> None:
    plan, path = conversion(write_tiny_bert(tmp_path / "model")), tmp_path / "model.gguf"
    with path.open("wb") as file:
        plan.write(file)
    spelled = dict(zip(PIECES, tokens_of(path), strict=True))
    assert [spelled[piece] for piece in ("[CLS]", "river", "##a")] == ["[CLS]", "▁river", "a"]


@pytest.mark.parametrize(("pooling", "number"), [("mean", 1), ("cls", 2)])
def test_the_pooling_and_the_length_are_the_models_own(tmp_path: Path, pooling: str, number: int) -> None:
    header = conversion(write_tiny_bert(tmp_path / "model", pooling=pooling, longest=20)).header(tmp_path)
    assert (header.pooling_type, header.context_length) == (number, 20)
    assert {tensor.shape for tensor in header.tensors if tensor.name == "position_embd.weight"} == {(32, 20)}


def test_without_a_length_of_its_own_the_tokenizers_counts(tmp_path: Path) -> None:
    folder = write_tiny_bert(tmp_path / "model", longest=None)
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 1000000000000000019884624838656}')
    assert conversion(folder).header(folder).context_length == 64


def test_a_vocabulary_of_lines_is_as_good(tmp_path: Path) -> None:
    folder = write_tiny_bert(tmp_path / "model")
    whole = read_wordpiece(folder)
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    assert read_wordpiece(folder) == whole


def test_older_names_of_tensors_are_understood(tmp_path: Path) -> None:
    folder = write_tiny_bert(tmp_path / "model")
    content = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    older = {f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma"): entry for name, entry in header.items()}
    text = json.dumps(older).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    assert conversion(folder).tensors


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"steps": ("Transformer", "Pooling", "Dense")}, "a step 'Dense'"),
        ({"pooling": "max"}, "the pooling 'pooling_mode_max_tokens'"),
        ({"config": {"hidden_act": "relu"}}, "the activation 'relu'"),
        ({"config": {"position_embedding_type": "relative_key"}}, "positions of the kind 'relative_key'"),
        ({"config": {"quantization_config": {"quant_method": "gptq", "bits": 4}}}, "GPTQ-4bit weights"),
        ({"config": {"num_hidden_layers": 3}}, "no tensor encoder.layer.2"),
        ({"config": {"intermediate_size": None}}, "feed_forward_length"),
    ],
)
def test_what_is_more_than_bert_is_refused(tmp_path: Path, options: dict, reason: str) -> None:
    folder = write_tiny_bert(tmp_path / "model", **options)
    with pytest.raises(UnsupportedError, match=reason):
        conversion(folder)
    assert not converts(folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": {"type": "BPE"}}, "not WordPiece"),
        ({"normalizer": {"type": "NFKC"}}, "prepares texts in another way"),
        ({"model": {"type": "WordPiece", "vocab": {"a": 0}}}, r"has no \[CLS\]"),
    ],
)
def test_another_tokenizer_is_refused(tmp_path: Path, change: dict, reason: str) -> None:
    folder = write_tiny_bert(tmp_path / "model")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer | change))
    with pytest.raises(UnsupportedError, match=reason):
        conversion(folder)


def test_more_pieces_than_embeddings_are_refused(tmp_path: Path) -> None:
    folder = write_tiny_bert(tmp_path / "model")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["one more"] = len(PIECES)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(UnsupportedError, match=f"{len(PIECES) + 1} pieces, but there are {len(PIECES)} embeddings"):
        conversion(folder)


@pytest.mark.parametrize("epsilon", [1e300, -1.0, "x", None, True])
def test_a_strange_epsilon_is_the_usual_one(tmp_path: Path, epsilon: object) -> None:
    plan = conversion(write_tiny_bert(tmp_path / "model", config={"layer_norm_eps": epsilon}))
    assert plan.header(tmp_path).metadata["bert.attention.layer_norm_epsilon"] == pytest.approx(1e-12)


@pytest.mark.parametrize("numbers", [[0, 2], [0, 0], ["x", 1], [-1, 0]])
def test_a_vocabulary_with_gaps_is_damaged(tmp_path: Path, numbers: list) -> None:
    folder = write_tiny_bert(tmp_path / "model")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] = dict(zip(("[CLS]", "[SEP]"), numbers, strict=True))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(InvalidModelError, match="not numbered from 0"):
        conversion(folder)


def test_other_models_are_left_to_other_engines(tmp_path: Path) -> None:
    folder = write_tiny_llama(tmp_path / "llama")
    assert not is_bert(folder)
    assert not detect(folder).converts
    assert detect(write_tiny_bert(tmp_path / "bert")).converts
