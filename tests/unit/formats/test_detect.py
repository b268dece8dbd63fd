import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oprel.core.exceptions import InvalidModelError
from oprel.formats.detect import detect
from oprel.formats.model_info import ModelInfo
from tests.fixtures.gguf_factory import write_tiny_gguf
from tests.fixtures.gguf_parts import write_adapter, write_projector, write_reranker
from tests.fixtures.hf_folder import LLAMA, Shapes, safetensors, write_folder

WEIGHTS: Shapes = {"model.embed_tokens.weight": ("BF16", (100, 64)), "model.norm.weight": ("F32", (64,))}
MODEL = safetensors(WEIGHTS)


def found(folder: Path, config: object = LLAMA, weights: Shapes = WEIGHTS, **files: object) -> ModelInfo:
    """What a folder is; `files` are further JSON files."""
    others = {f"{name}.json": content for name, content in files.items()}
    return detect(write_folder(folder, {"config.json": config, "model.safetensors": safetensors(weights)} | others))


def test_a_folder_of_safetensors_is_described_by_its_config_and_its_tensors(tmp_path: Path) -> None:
    assert found(tmp_path) == ModelInfo(
        format="safetensors",
        architecture="llama",
        quantization="BF16",
        size_bytes=len(MODEL),
        parameters=6464,
        context_length=8192,
        vocabulary_size=100,
        embedding_length=64,
        layers=2,
        heads=(4, 4),
        kv_heads=(2, 2),
        head_dim=16,
        capabilities=("completion",),
    )
    assert detect(tmp_path / "model.safetensors") == detect(tmp_path)


def test_without_a_config_the_tensors_are_all_that_is_known(tmp_path: Path) -> None:
    info = detect(write_folder(tmp_path, {"model.safetensors": MODEL}))
    assert (info.architecture, info.parameters, info.quantization, info.layers) == ("", 6464, "BF16", None)
    assert (info.heads, info.capabilities) == ((), ())


def test_a_gguf_file_is_described_the_same_way(tmp_path: Path) -> None:
    info = detect(write_tiny_gguf(tmp_path / "tiny.gguf"))
    assert (info.format, info.architecture, info.quantization, info.context_length) == ("gguf", "llama", "F16", 2048)
    assert (info.layers, info.heads, info.kv_heads, info.head_dim) == (2, (4, 4), (2, 2), 16)
    assert info.vocabulary_size == 449 and info.embedding_length == 64
    assert info.parameters is not None and info.bits_per_weight is not None and 16 < info.bits_per_weight < 50
    assert info.capabilities[0] == "completion"
    assert detect(tmp_path) == info  # the folder with nothing else in it


def test_what_cannot_answer_alone_can_do_nothing(tmp_path: Path) -> None:
    assert detect(write_projector(tmp_path / "p.gguf")).capabilities == ()
    assert detect(write_adapter(tmp_path / "a.gguf", "cold")).capabilities == ()
    assert detect(write_reranker(tmp_path / "r.gguf", "cold")).capabilities == ("rerank",)
    assert detect(write_tiny_gguf(tmp_path / "e.gguf", pooling=1)).capabilities == ("embedding",)


def test_a_projector_beside_a_model_is_not_taken_for_one(tmp_path: Path) -> None:
    write_tiny_gguf(tmp_path / "model-f16.gguf")
    write_projector(tmp_path / "mmproj-model-f16.gguf")
    assert detect(tmp_path).architecture == "llama"


PARTS = {
    "model-00001-of-00002.safetensors": safetensors({"a": ("BF16", (10,))}),
    "model-00002-of-00002.safetensors": safetensors({"b": ("BF16", (20,))}),
}
INDEX = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}


@pytest.mark.parametrize(
    "beside", [{}, {"model.safetensors.index.json": INDEX, "consolidated.safetensors": b"the same in one piece"}]
)
def test_parts_are_one_model_with_an_index_and_without(tmp_path: Path, beside: Mapping[str, object]) -> None:
    info = detect(write_folder(tmp_path, {**PARTS, **beside}))
    assert (info.parameters, info.size_bytes) == (30, sum(map(len, PARTS.values())))
    assert detect(tmp_path / "model-00002-of-00002.safetensors") == info


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path, PARTS)
    (tmp_path / "model-00001-of-00002.safetensors").unlink()
    for path in (tmp_path, tmp_path / "model-00002-of-00002.safetensors"):
        with pytest.raises(InvalidModelError, match="lacks 1 of 2 parts: 'model-00001-of-00002.safetensors'"):
            detect(path)


@pytest.mark.parametrize("name", ["m-00003-of-00002.gguf", "m-00000-of-00002.gguf", "m-00001-of-99999.gguf"])
def test_an_impossible_part_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidModelError, match="which is impossible"):
        detect(write_tiny_gguf(tmp_path / name))


def test_a_tensor_in_two_parts_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, dict.fromkeys(PARTS, safetensors({"a": ("F32", (1,))})))
    with pytest.raises(InvalidModelError, match="'a' is in another part too"):
        detect(tmp_path)


def test_a_folder_of_several_models_wants_to_be_told_which(tmp_path: Path) -> None:
    for name in ("a-Q4_K_M.gguf", "a-Q8_0.gguf"):
        write_tiny_gguf(tmp_path / name)
    with pytest.raises(InvalidModelError, match="(?m)contains 2 models: 'a-Q4_K_M.gguf', 'a-Q8_0.gguf'$"):
        detect(tmp_path)
    for name in ("b.gguf", "c.gguf", "d.gguf"):
        write_tiny_gguf(tmp_path / name)
    with pytest.raises(InvalidModelError, match="(?m)contains 5 models: .*, 'b.gguf', and 2 more$"):
        detect(tmp_path)


PICKLE = b"\x80\x02cposix\nsystem\nX\x05\x00\x00\x00touch\x85R."


@pytest.mark.parametrize("content", [PICKLE, b"PK\x03\x04" + PICKLE])
def test_a_pytorch_folder_is_recognized_by_its_config_and_never_run(tmp_path: Path, content: bytes) -> None:
    content += bytes(2000 - len(content))
    files = {"config.json": LLAMA, "pytorch_model.bin": content, "training_args.bin": content}
    info = detect(write_folder(tmp_path, files))
    assert (info.format, info.architecture, info.quantization, info.layers) == ("pytorch", "llama", "BF16", 2)
    assert (info.size_bytes, info.parameters) == (2000, 1000)
    assert detect(tmp_path / "pytorch_model.bin") == info


def test_pytorch_in_parts(tmp_path: Path) -> None:
    names = [f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)]
    index = {"weight_map": dict(zip("ab", names, strict=True))}
    write_folder(tmp_path, dict.fromkeys(names, PICKLE))
    assert detect(tmp_path).size_bytes == 2 * len(PICKLE)
    write_folder(tmp_path, {"pytorch_model.bin.index.json": index})
    assert detect(tmp_path).size_bytes == 2 * len(PICKLE)


def test_safetensors_are_preferred_to_what_would_have_to_be_run(tmp_path: Path) -> None:
    write_folder(tmp_path, {"pytorch_model.bin": PICKLE})
    assert found(tmp_path).format == "safetensors"


@pytest.mark.parametrize("name", ["model.gguf", "model.bin", "notes.txt", "model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"<!doctype html>", b"version https://git-lfs.github.com/spec/v1\n"])
def test_what_is_no_model_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    write_folder(tmp_path, {name: content})
    with pytest.raises(InvalidModelError, match=r"\(byte \d+\)") as caught:
        detect(tmp_path / name)
    assert caught.value.resolution_steps


def test_what_is_not_there_or_empty_is_said_so(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    for name, reason in (("none", "does not exist"), ("pipe.gguf", "is not a file"), ("", "contains no model")):
        with pytest.raises(InvalidModelError, match=reason):
            detect(tmp_path / name)


def packed(method: Mapping[str, object]) -> dict[str, object]:
    return {**LLAMA, "quantization_config": method}


QUANTIZED: Mapping[str, tuple[dict[str, Any], Shapes, str, int]] = {
    "GPTQ": (
        packed({"quant_method": "gptq", "bits": 4}),
        {
            "a.qweight": ("I32", (8, 10)),
            "a.qzeros": ("I32", (2, 1)),
            "a.scales": ("F16", (2, 8)),
            "a.g_idx": ("I32", (9,)),
        },
        "GPTQ-4bit",
        640,
    ),
    "AWQ": (packed({"quant_method": "awq", "w_bit": 4}), {"a.qweight": ("I32", (10,))}, "AWQ-4bit", 80),
    "three bits": (packed({"quant_method": "gptq", "bits": 3}), {"a.qweight": ("I32", (3,))}, "GPTQ-3bit", 32),
    "bitsandbytes": (
        packed({"quant_method": "bitsandbytes", "_load_in_4bit": True}),
        {
            "a.weight": ("U8", (50, 1)),
            "a.weight.absmax": ("U8", (2,)),
            "a.weight.quant_map": ("F32", (16,)),
            "a.weight.quant_state.bitsandbytes__nf4": ("U8", (9,)),
        },
        "BITSANDBYTES-4bit",
        100,
    ),
    "FP8": (
        packed({"quant_method": "fp8"}),
        {"a.weight": ("F8_E4M3", (70,)), "a.weight_scale_inv": ("F32", (1,)), "n.weight": ("BF16", (5,))},
        "FP8",
        75,
    ),
    "MXFP4": (
        packed({"quant_method": "mxfp4"}),
        {"a.gate_up_proj_blocks": ("U8", (16, 2)), "a.gate_up_proj_scales": ("U8", (2,)), "n.bias": ("BF16", (3,))},
        "MXFP4",
        67,
    ),
    "compressed tensors": (
        packed({"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 4}}}}),
        {"a.weight_packed": ("I32", (4,)), "a.weight_scale": ("BF16", (1,)), "a.weight_shape": ("I64", (2,))},
        "COMPRESSED-TENSORS-4bit",
        32,
    ),
    "no method": (packed({"bits": True}), {"a.weight": ("I8", (4,))}, "QUANTIZED", 4),
}


@pytest.mark.parametrize(("config", "weights", "label", "parameters"), QUANTIZED.values(), ids=QUANTIZED)
def test_packed_weights_are_counted_one_by_one(
    tmp_path: Path, config: object, weights: Shapes, label: str, parameters: int
) -> None:
    info = found(tmp_path, config, weights)
    assert (info.quantization, info.parameters) == (label, parameters)


CONFIGS: Mapping[str, tuple[dict[str, object], dict[str, object]]] = {
    "GPT-2": (
        {
            "model_type": "gpt2",
            "n_ctx": 9,
            "n_positions": 1024,
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
            "vocab_size": 7,
        },
        {"context_length": 1024, "embedding_length": 32, "heads": (4, 4), "kv_heads": (4, 4), "head_dim": 8},
    ),
    "a list for each layer": (
        {"num_transformer_layers": 2, "num_query_heads": [12, 16], "num_kv_heads": [3, 4], "head_dim": 64},
        {"layers": 2, "heads": (12, 16), "kv_heads": (3, 4), "head_dim": 64},
    ),
    "experts": (
        {**LLAMA, "num_local_experts": 128, "num_experts_per_tok": 8},
        {"experts": 128, "experts_used": 8},
    ),
    "a model that sees": (
        {
            "model_type": "gemma3",
            "architectures": ["Gemma3ForConditionalGeneration"],
            "text_config": {"num_hidden_layers": 3, "hidden_size": 10, "max_position_embeddings": 131072},
            "vision_config": {"num_hidden_layers": 27},
        },
        {"architecture": "gemma3", "layers": 3, "context_length": 131072, "capabilities": ("completion", "vision")},
    ),
    "one that hears too": (
        {
            "model_type": "qwen2_5_omni",
            "architectures": ["Qwen2_5OmniForConditionalGeneration"],
            "thinker_config": {"text_config": {"num_hidden_layers": 36}, "vision_config": {}, "audio_config": {}},
        },
        {"layers": 36, "capabilities": ("completion", "vision", "audio")},
    ),
    "an embedding model": ({"architectures": ["BertModel"], "model_type": "bert"}, {"capabilities": ("embedding",)}),
    "a reranker": ({"architectures": ["XLMRobertaForSequenceClassification"]}, {"capabilities": ("rerank",)}),
    "nonsense": (
        {
            "model_type": "\x1b[2J",
            "architectures": [None, 3, {}, "x" * 999],
            "num_hidden_layers": True,
            "hidden_size": -5,
            "num_attention_heads": "4",
            "vocab_size": 10**99,
            "text_config": [1],
            "dtype": {},
        },
        {"architecture": "", "layers": None, "embedding_length": None, "heads": (), "vocabulary_size": None},
    ),
}


@pytest.mark.parametrize(("config", "expected"), CONFIGS.values(), ids=CONFIGS)
def test_configurations_of_all_kinds(tmp_path: Path, config: object, expected: Mapping[str, object]) -> None:
    info = found(tmp_path, config)
    assert {name: getattr(info, name) for name in expected} == expected


@pytest.mark.parametrize(
    "template",
    [
        {"tokenizer_config.json": {"chat_template": "{{ tools }}<think>"}},
        {"tokenizer_config.json": {"chat_template": [{"name": "default", "template": "enable_thinking tools"}, 1]}},
        {"chat_template.jinja": "{{ tools }} <think>", "tokenizer_config.json": {"chat_template": "nothing"}},
    ],
)
def test_a_chat_template_tells_of_tools_and_thoughts(tmp_path: Path, template: Mapping[str, object]) -> None:
    write_folder(tmp_path, template)
    assert found(tmp_path).capabilities == ("completion", "tools", "thinking")


def test_a_model_of_sentence_transformers_embeds(tmp_path: Path) -> None:
    assert found(tmp_path, modules=[]).capabilities == ("embedding",)


def test_a_billion_layers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match="1000000000 layers, but at most 1024 are allowed"):
        found(tmp_path, {**LLAMA, "num_hidden_layers": 10**9})


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_damaged_neighbour_is_named_with_its_byte(tmp_path: Path, name: str) -> None:
    write_folder(tmp_path, {"config.json": LLAMA, "model.safetensors": MODEL, name: '{"a": 1'})
    with pytest.raises(InvalidModelError, match=rf"{name} is not a usable model: .*\(byte 7\)"):
        detect(tmp_path)


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
KEYS = (*LLAMA, "quantization_config", "quantization", "text_config", "thinker_config", "config_groups", "head_dim")


@settings(max_examples=200, deadline=None)
@given(config=st.dictionaries(st.sampled_from(KEYS), JSONS | st.dictionaries(st.sampled_from(KEYS), JSONS, max_size=3)))
def test_a_configuration_of_anything_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, config: dict[str, object]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "anything"
    try:
        assert found(folder, config).parameters
    except InvalidModelError as error:
        assert "(byte " in error.message


def test_a_split_gguf_counts_all_its_parts(tmp_path: Path) -> None:
    first = write_tiny_gguf(tmp_path / "m-00001-of-00002.gguf")
    with pytest.raises(InvalidModelError, match="lacks 1 of 2 parts"):
        detect(first)
    write_tiny_gguf(tmp_path / "m-00002-of-00002.gguf")
    alone, both = detect(first.rename(tmp_path / "alone.gguf")), detect(write_tiny_gguf(first))
    assert alone.parameters and both.parameters == 2 * alone.parameters
    assert both.size_bytes == 2 * alone.size_bytes and both.layers == alone.layers
