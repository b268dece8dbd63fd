"""Estimates against the sizes that llama.cpp b11549 printed for known models (`bin/bench memory --live`)."""

import json
from collections import defaultdict
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oprel.formats.ggml_types import GGML_TYPES
from oprel.formats.gguf import Tensor, Value
from oprel.telemetry.memory.dims import dims_of
from oprel.telemetry.memory.estimator import MIB, Estimate, estimate, projector_bytes
from oprel.telemetry.memory.kv_cache import refusal
from oprel.telemetry.memory.load_shape import LoadShape
from oprel.telemetry.memory.widths import widths_of
from tests.fixtures.known_models import DATA, header_of, known_header, known_models

CASES = json.loads((DATA / "memory_cases.json").read_text())
PRINTED: dict[str, list[list[Any]]] = defaultdict(list)
for case in CASES["printed"]:
    PRINTED[case[0]].append(case[1:])
EXACT = 0.01  # MiB: engines print two decimals


def model(architecture: str, **described: Value) -> dict[str, Value]:
    keys = {key.replace("__", "."): value for key, value in described.items()}
    return {"general.architecture": architecture} | {f"{architecture}.{key}": value for key, value in keys.items()}


@pytest.mark.parametrize("name", known_models())
def test_it_is_what_the_engine_printed(name: str) -> None:
    header = known_header(name)
    dims, widths = dims_of(header), widths_of(header)
    is_dense = dims.causal and not widths.expert and not any(layer.recurrent for layer in dims.layers)
    assert PRINTED[name]
    for wished, kv, state, compute, output in PRINTED[name]:
        found = estimate(header, LoadShape(**wished))
        assert found.kv_bytes / MIB == pytest.approx(kv, abs=EXACT), wished
        assert found.state_bytes / MIB == pytest.approx(state, abs=EXACT), wished
        assert found.output_bytes / MIB == pytest.approx(output, abs=EXACT), wished
        bound = 0.01 if is_dense and wished.get("flash_attention", True) else 0.1
        assert found.compute_bytes / MIB == pytest.approx(compute, rel=bound), wished
        assert found.weights_bytes == sum(tensor.size_bytes for tensor in header.tensors)


@pytest.mark.parametrize(
    ("architecture", "described", "wished", "kv", "state"),
    [case[1:] for case in CASES["logs"]],
    ids=[case[0] for case in CASES["logs"]],
)
def test_caches_are_those_of_logs_that_users_published(
    architecture: str, described: dict[str, Any], wished: dict[str, Any], kv: float | None, state: float | None
) -> None:
    metadata = {key: tuple(value) if isinstance(value, list) else value for key, value in described.items()}
    found = estimate(header_of(model(architecture, **metadata)), LoadShape(**wished))
    if kv is not None:
        assert found.kv_bytes / MIB == pytest.approx(kv, abs=EXACT)
    if state is not None:
        assert found.state_bytes / MIB == pytest.approx(state, abs=EXACT)


@pytest.mark.parametrize("gpu_layers", [0, 1, 7, 16, 17, 99, None])
def test_tensors_and_caches_lie_somewhere_and_once(gpu_layers: int | None) -> None:
    header = known_header("llama3.1-8b")
    alone = estimate(header, LoadShape(context=4096))
    parted = estimate(header, LoadShape(context=4096, split=(3, 1), gpu_layers=gpu_layers))
    assert (parted.weights_bytes, parted.kv_bytes) == (alone.weights_bytes, alone.kv_bytes)


def test_layers_go_to_devices_from_the_last_one_and_the_output_first() -> None:
    header = known_header("llama3.1-8b")
    output = sum(tensor.size_bytes for tensor in header.tensors if tensor.name.startswith("output"))
    one = estimate(header, LoadShape(context=4096, split=(1,), gpu_layers=1))
    assert (one.devices[0].weights, one.devices[0].kv) == (output, 0)
    three = estimate(header, LoadShape(context=4096, split=(1,), gpu_layers=3))
    assert three.devices[0].weights == output + sum(layer.weights for layer in three.layers[-2:])
    assert three.devices[0].kv == sum(layer.kv for layer in three.layers[-2:])


def test_an_embedding_that_is_the_output_too_lies_on_both_sides() -> None:
    header = known_header("llama3.2-1b")
    found = estimate(header, LoadShape(context=4096, split=(1,)))
    embedding = next(tensor.size_bytes for tensor in header.tensors if tensor.name == "token_embd.weight")
    whole = sum(tensor.size_bytes for tensor in header.tensors)
    assert (found.devices[0].weights, found.host.weights) == (whole, embedding)


def test_experts_can_stay_on_the_cpu() -> None:
    header = known_header("qwen3-30b-a3b")
    shape = LoadShape(context=4096, split=(1,))
    everywhere, parted = estimate(header, shape), estimate(header, replace(shape, cpu_experts=10))
    moved = sum(layer.experts for layer in parted.layers[:10])
    assert parted.host.weights - everywhere.host.weights == moved > 0
    assert parted.devices[0].weights == everywhere.devices[0].weights - moved
    assert parted.devices[0].kv == everywhere.devices[0].kv


def test_all_devices_but_unused_ones_compute() -> None:
    shares = estimate(known_header("qwen3-8b"), LoadShape(context=4096, split=(1, 0, 1))).devices
    assert shares[0].compute == shares[2].compute > 0
    assert shares[1].total == 0


def test_a_device_without_layers_computes_large_batches_with_weights_that_are_copied_to_it() -> None:
    header = known_header("qwen3-30b-a3b")
    whole = estimate(header, LoadShape(context=4096, split=(1,))).devices[0]
    none = estimate(header, LoadShape(context=4096, split=(1,), gpu_layers=0)).devices[0]
    largest = max(tensor.size_bytes for tensor in header.tensors if tensor.name.startswith("blk."))
    assert (none.weights, none.kv, none.compute) == (0, 0, whole.compute + 2 * largest)


def test_a_checkpoint_is_what_one_conversation_cannot_compute_again_from_its_cache() -> None:
    assert estimate(known_header("qwen3-8b"), LoadShape(context=4096)).checkpoint == 0
    assert estimate(known_header("qwen3.6-27b"), LoadShape(context=4096, slots=3)).checkpoint / MIB == pytest.approx(
        149.62, abs=EXACT
    )


@pytest.mark.parametrize(
    ("described", "cells"),
    [
        pytest.param(model("llama", attention__sliding_window=512), [4096] * 6, id="an architecture without windows"),
        pytest.param(model("gemma3"), [4096] * 6, id="no window in the file"),
        pytest.param(model("gemma3", attention__sliding_window=512), [1024] * 5 + [4096], id="its own period"),
        pytest.param(
            model("gemma3", attention__sliding_window=512, attention__sliding_window_pattern=2),
            [1024, 4096] * 3,
            id="a period in the file",
        ),
        pytest.param(
            model(
                "gemma3",
                attention__sliding_window=512,
                attention__sliding_window_pattern=(True, True, False, False, True, True),
            ),
            [1024, 1024, 4096, 4096, 1024, 1024],
            id="a pattern in the file",
        ),
        pytest.param(
            model("laguna", attention__sliding_window=512), [4096, 1024, 1024, 1024] * 2, id="full ones first"
        ),
        pytest.param(model("exaone4", attention__sliding_window=512), [4096] * 6, id="another depth"),
        pytest.param(model("gemma3n", attention__sliding_window=512), [1024] * 4 + [4096, 1024], id="gemma 3n"),
        pytest.param(model("gemma3", nextn_predict_layers=2), [4096] * 4 + [0, 0], id="layers that predict further"),
        pytest.param(model("bert"), [0] * 6, id="nothing is kept"),
    ],
)
def test_each_layer_has_the_cells_that_its_architecture_gives_it(described: dict[str, Value], cells: list[int]) -> None:
    architecture = described["general.architecture"]
    usual: dict[str, Value] = {"block_count": 6, "attention.head_count": 4, "embedding_length": 256}
    header = header_of({f"{architecture}.{key}": value for key, value in usual.items()} | described)
    found = estimate(header, LoadShape(context=4096))
    expected = [count * (64 * 4) * 2 * 2 for count in cells[:6]]
    assert [layer.kv for layer in found.layers] == expected[: len(found.layers)]
    assert not any(expected[len(found.layers) :])


def test_without_flash_attention_values_are_padded_to_the_widest() -> None:
    """The engine printed 608 and 800 MiB for gemma-4-12b at 8192 tokens."""
    header, shape = known_header("gemma4-12b"), LoadShape(context=8192)
    assert estimate(header, shape).kv_bytes / MIB == 608
    assert estimate(header, replace(shape, flash_attention=False)).kv_bytes / MIB == 800


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("llama3.1-8b", LoadShape(key_type="q8_0", value_type="q8_0"), None),
        ("llama3.1-8b", LoadShape(value_type="q8_0", flash_attention=False), "need flash attention"),
        ("phi2", LoadShape(key_type="q8_0"), "80 elements"),
        ("deepseek-v3", LoadShape(key_type="q8_0"), "must have the same type"),
        ("mamba-2.8b", LoadShape(key_type="q8_0"), None),
    ],
)
def test_caches_that_engines_refuse_are_known(name: str, shape: LoadShape, reason: str | None) -> None:
    found = refusal(dims_of(known_header(name)), shape)
    assert found is None if reason is None else found is not None and reason in found


def test_architectures_whose_caches_are_only_guessed_say_so() -> None:
    assert estimate(header_of(model("deepseek4")), LoadShape(context=4096)).rough
    assert estimate(header_of(model("rwkv7", wkv__head_size=64, embedding_length=512)), LoadShape(context=4096)).rough
    assert not any(estimate(known_header(name), LoadShape(context=4096)).rough for name in known_models())


def test_a_projector_takes_its_weights_and_what_it_computes_of_an_image() -> None:
    tensors = (Tensor(name="v.patch_embd.weight", shape=(1024,), type=GGML_TYPES[0], offset=0, size_bytes=4096),)
    assert projector_bytes(header_of(model("clip"), tensors)) == 4096
    vision = {"image_size": 28, "patch_size": 14, "embedding_length": 10, "attention.head_count": 2}
    described = model("clip", **{f"vision.{key}": value for key, value in vision.items()})
    assert projector_bytes(header_of(described, tensors)) == 4096 + 4 * 4 * (5 * 10 + 2 * 4)


SHAPES = st.builds(
    LoadShape,
    context=st.integers(0, 10**6),
    slots=st.integers(1, 256),
    unified=st.booleans(),
    key_type=st.sampled_from(["f16", "q8_0"]),
    ubatch=st.integers(1, 4096),
    flash_attention=st.booleans(),
    gpu_layers=st.none() | st.integers(0, 200),
    split=st.lists(st.floats(0.01, 100), max_size=4).map(tuple),
    cpu_experts=st.integers(0, 100),
)
NAMES = st.sampled_from(
    ["llama3.1-8b", "gemma3-4b", "qwen3-30b-a3b", "qwen3.6-35b-a3b", "deepseek-v2-lite", "bge-small"]
)


@given(NAMES, SHAPES)
def test_nothing_is_negative_and_shares_make_the_whole(name: str, shape: LoadShape) -> None:
    found = estimate(known_header(name), shape)
    shares = [*found.devices, found.host]
    assert all(min(share.weights, share.kv, share.state, share.compute, share.output) >= 0 for share in shares)
    assert found.kv_bytes == sum(layer.kv for layer in found.layers)
    assert found.total_bytes == sum(share.total for share in shares)


@given(NAMES, SHAPES, st.integers(1, 10**5))
def test_a_longer_context_never_takes_less(name: str, shape: LoadShape, more: int) -> None:
    shape = replace(shape, context=max(shape.context, 1))

    def remembered(found: Estimate) -> int:
        return found.kv_bytes + found.state_bytes

    longer = replace(shape, context=shape.context + more)
    assert remembered(estimate(known_header(name), longer)) >= remembered(estimate(known_header(name), shape))


NUMBERS = st.sampled_from([0, 1, 7, 2**31, 2**63, 2**64 - 1, -1, True, 1.5, "many", (1, 2), (0,) * 1024, ()])
KEYS = st.sampled_from(
    """block_count embedding_length context_length attention.head_count attention.head_count_kv attention.key_length
    attention.sliding_window attention.sliding_window_pattern attention.recurrent_layers full_attention_interval
    nextn_predict_layers expert_used_count ssm.conv_kernel ssm.inner_size ssm.state_size kda.head_dim num_loops
    attention.key_length_mla attention.value_length_mla attention.indexer.key_length wkv.head_size""".split()
)
ARCHITECTURES = st.sampled_from(
    "llama gemma3 qwen35 nemotron_h lfm2 nanbeige kimi-linear glm-dsa rwkv7 falcon-h1 minimax-m3 unheard-of".split()
)


@given(ARCHITECTURES, st.dictionaries(KEYS, NUMBERS), SHAPES)
def test_whatever_a_header_says_the_answer_is_a_number(
    architecture: str, described: dict[str, Value], shape: LoadShape
) -> None:
    tensors = (Tensor(name="blk.4000000000.ffn_up.weight", shape=(32,), type=GGML_TYPES[0], offset=0, size_bytes=128),)
    found = estimate(header_of(model(architecture, **described), tensors), shape)
    assert found.total_bytes >= 0
    assert found.weights_bytes == 128
