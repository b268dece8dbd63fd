import os
import struct
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oprel.core.exceptions import InvalidModelError
from oprel.formats.ggml_types import GGMLType, ValueType
from oprel.formats.gguf import SkippedArray, Tensor, looks_like_gguf, read_gguf
from tests.fixtures.gguf_factory import scalar, write_gguf, write_tiny_gguf


@dataclass(frozen=True)
class Builder:
    """Byte strings of GGUF, right or wrong as the test asks for."""

    order: str = "<"

    def pack(self, codes: str, *values: float) -> bytes:
        return struct.pack(self.order + codes, *values)

    def text(self, value: str | bytes) -> bytes:
        encoded = value.encode() if isinstance(value, str) else value
        return self.pack("Q", len(encoded)) + encoded

    def key(self, name: str | bytes, kind: int, value: bytes) -> bytes:
        return self.text(name) + self.pack("I", kind) + value

    def number(self, name: str, kind: ValueType, value: float) -> bytes:
        return self.key(name, kind.number, self.pack(kind.code, value))

    def string(self, name: str | bytes, value: str | bytes) -> bytes:
        return self.key(name, ValueType.STRING.number, self.text(value))

    def array(self, name: str, kind: ValueType, count: int, elements: bytes) -> bytes:
        return self.key(name, ValueType.ARRAY.number, self.pack("IQ", kind.number, count) + elements)

    def tensor(self, name: str, shape: Sequence[int], kind: int, offset: int) -> bytes:
        dimensions = self.pack(f"I{len(shape)}Q", len(shape), *shape)
        return self.text(name) + dimensions + self.pack("IQ", kind, offset)

    def file(
        self, *keys: bytes, tensors: Sequence[bytes] = (), data: bytes = b"", version: int = 3, alignment: int = 32
    ) -> bytes:
        start = b"GGUF" + self.pack("IQQ", version, len(tensors), len(keys))
        header = start + b"".join([*keys, *tensors])
        return header + bytes(-len(header) % alignment) + data


LITTLE = Builder()
NUMBERS: dict[ValueType, int | float | bool] = {
    ValueType.UINT8: 200,
    ValueType.INT8: -100,
    ValueType.UINT16: 60_000,
    ValueType.INT16: -30_000,
    ValueType.UINT32: 4_000_000_000,
    ValueType.INT32: -2_000_000_000,
    ValueType.FLOAT32: 0.5,
    ValueType.BOOL: True,
    ValueType.UINT64: 2**63,
    ValueType.INT64: -(2**62),
    ValueType.FLOAT64: 1e300,
}


def saved(folder: Path, content: bytes) -> Path:
    path = folder / "model.gguf"
    path.write_bytes(content)
    return path


def small_model(builder: Builder = LITTLE, version: int = 3) -> bytes:
    keys = [builder.number(kind.name, kind, value) for kind, value in NUMBERS.items()]
    keys += [
        builder.string("general.architecture", "llama"),
        builder.number("llama.context_length", ValueType.UINT32, 4096),
        builder.array("llama.attention.head_count_kv", ValueType.INT32, 3, builder.pack("3i", 8, 0, 8)),
        builder.array("tokenizer.ggml.tokens", ValueType.STRING, 70, b"".join(map(builder.text, map(str, range(70))))),
        builder.array("general.tags", ValueType.STRING, 2, builder.text("a") + builder.text("ü")),
    ]
    tensors = [
        builder.tensor("token_embd.weight", (64, 3), GGMLType.Q8_0.number, 0),
        builder.tensor("output_norm.weight", (5,), GGMLType.F32.number, 224),
        builder.tensor("output.weight", (256, 2), GGMLType.Q4_K.number, 256),
    ]
    return builder.file(*keys, tensors=tensors, data=bytes(256 + 288), version=version)


@contextmanager
def little_effort(peak_bytes: int = 8 * 1024**2) -> Iterator[None]:
    """Fail when the block allocates much; that it takes long is for the test's time-out to see."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < peak_bytes
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", name="Tiny model")


def test_a_model_tells_what_it_is(tmp_path: Path, tiny: Path) -> None:
    model = read_gguf(tiny)
    assert (model.path, model.version, model.byte_order) == (tiny, 3, "little")
    assert (model.architecture, model.name, model.quantization) == ("llama", "Tiny model", "F16")
    assert (model.context_length, model.embedding_length, model.block_count) == (2048, 64, 2)
    assert model.chat_template is not None and "<|im_start|>" in model.chat_template
    assert model.vocabulary_size == model.tensors[0].shape[1]
    assert model.pooling_type is None
    assert read_gguf(write_tiny_gguf(tmp_path / "embedding.gguf", pooling=1)).pooling_type == 1


def test_the_tensors_fill_the_data_section(tiny: Path) -> None:
    model = read_gguf(tiny)
    assert model.tensors[0] == Tensor(
        name="token_embd.weight", shape=(64, 449), type=GGMLType.F16, offset=0, size_bytes=64 * 449 * 2
    )
    last = model.tensors[-1]
    assert model.data_offset + last.offset + last.size_bytes == model.size_bytes == tiny.stat().st_size
    assert model.parameter_count == sum(tensor.shape[0] * (*tensor.shape, 1)[1] for tensor in model.tensors)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(("order", "byte_order"), [("<", "little"), (">", "big")])
def test_both_byte_orders_and_versions_say_the_same(tmp_path: Path, order: str, byte_order: str, version: int) -> None:
    model = read_gguf(saved(tmp_path, small_model(Builder(order), version)))
    assert (model.version, model.byte_order) == (version, byte_order)
    assert {kind: model.metadata[kind.name] for kind in NUMBERS} == NUMBERS
    assert model.metadata["llama.attention.head_count_kv"] == (8, 0, 8)
    assert model.metadata["general.tags"] == ("a", "ü")
    assert model.metadata["tokenizer.ggml.tokens"] == SkippedArray(ValueType.STRING, 70)
    assert [tensor.size_bytes for tensor in model.tensors] == [204, 20, 288]
    assert (model.architecture, model.context_length, model.vocabulary_size) == ("llama", 4096, 70)


def test_per_layer_numbers_are_kept_and_longer_values_only_counted(tmp_path: Path) -> None:
    layers = LITTLE.array("layers", ValueType.BOOL, 1024, bytes(1024))
    scores = LITTLE.array("scores", ValueType.UINT16, 1025, bytes(2 * 1025))
    text, empty = LITTLE.string("text", bytes(2**21)), LITTLE.array("empty", ValueType.STRING, 0, b"")
    metadata = read_gguf(saved(tmp_path, LITTLE.file(layers, scores, text, empty))).metadata
    assert (metadata["layers"], metadata["empty"]) == ((False,) * 1024, ())
    assert metadata["scores"] == SkippedArray(ValueType.UINT16, 1025)
    assert metadata["text"] == SkippedArray(ValueType.UINT8, 2**21)


def test_bad_utf8_in_a_text_does_not_cost_the_model(tmp_path: Path) -> None:
    assert read_gguf(saved(tmp_path, LITTLE.file(LITTLE.string("general.name", b"caf\xe9")))).name == "caf\ufffd"


@pytest.mark.parametrize(
    "keys", [[], [LITTLE.string("general.file_type", "Q4_0"), LITTLE.array("general.name", ValueType.STRING, 0, b"")]]
)
def test_what_is_not_said_or_in_a_wrong_type_is_empty(tmp_path: Path, keys: Sequence[bytes]) -> None:
    model = read_gguf(saved(tmp_path, LITTLE.file(*keys)))
    assert (model.architecture, model.name, model.quantization, model.parameter_count) == ("", "", "unknown", 0)
    assert (model.context_length, model.chat_template, model.vocabulary_size) == (None, None, None)


@pytest.mark.parametrize(("declared", "label"), [(15, "Q4_K_M"), (1024 + 7, "Q8_0"), (33, "Q4_K")])
def test_quantization_is_the_declared_one_or_that_of_most_bytes(tmp_path: Path, declared: int, label: str) -> None:
    tensors = [
        LITTLE.tensor("small", (8,), GGMLType.F32.number, 0),
        LITTLE.tensor("large", (256,), GGMLType.Q4_K.number, 32),
    ]
    key = LITTLE.number("general.file_type", ValueType.UINT32, declared)
    assert read_gguf(saved(tmp_path, LITTLE.file(key, tensors=tensors, data=bytes(176)))).quantization == label


def test_a_stated_alignment_is_used(tmp_path: Path) -> None:
    tensors = [LITTLE.tensor("a", (1,), 0, 0), LITTLE.tensor("b", (1,), 0, 128)]
    key = LITTLE.number("general.alignment", ValueType.UINT32, 128)
    model = read_gguf(saved(tmp_path, LITTLE.file(key, tensors=tensors, data=bytes(132), alignment=128)))
    assert model.data_offset == 128 and model.tensors[1].offset == 128


def test_the_last_tensors_padding_may_be_absent(tmp_path: Path) -> None:
    whole = LITTLE.file(tensors=[LITTLE.tensor("a", (3,), 0, 0)], data=bytes(12))
    assert read_gguf(saved(tmp_path, whole)).tensors[0].size_bytes == 12
    with pytest.raises(InvalidModelError, match="tensors end at byte"):
        read_gguf(saved(tmp_path, whole[:-1]))


@pytest.mark.parametrize("percent", [*range(1, 20), *range(20, 100, 8), 99.99])
@pytest.mark.parametrize("part", ["header", "file"])
def test_a_truncated_download_is_recognized(tmp_path: Path, tiny: Path, part: str, percent: float) -> None:
    model = read_gguf(tiny)
    length = model.data_offset if part == "header" else model.size_bytes
    cut = saved(tmp_path, tiny.read_bytes()[: int(length * percent / 100)])
    with pytest.raises(InvalidModelError, match=r"\(byte \d+\)") as caught:
        read_gguf(cut)
    assert "damaged or incomplete" in caught.value.resolution_steps[0]


HUGE = {
    "tensors": b"GGUF" + LITTLE.pack("IQQ", 3, 2**63, 0),
    "many tensors": b"GGUF" + LITTLE.pack("IQQ", 3, 10**6, 0),
    "keys": b"GGUF" + LITTLE.pack("IQQ", 3, 0, 2**64 - 1),
    "many keys": b"GGUF" + LITTLE.pack("IQQ", 3, 0, 10**5),
    "key": b"GGUF" + LITTLE.pack("IQQQ", 3, 0, 1, 2**62) + bytes(99),
    "string": LITTLE.file(LITTLE.key("s", 8, LITTLE.pack("Q", 2**40))),
    "numbers": LITTLE.file(LITTLE.array("n", ValueType.FLOAT64, 2**61, bytes(99))),
    "strings": LITTLE.file(LITTLE.array("s", ValueType.STRING, 2**40, bytes(99))),
    "string in an array": LITTLE.file(LITTLE.array("s", ValueType.STRING, 65, LITTLE.pack("Q", 2**63) + bytes(999))),
}


@pytest.mark.parametrize("content", HUGE.values(), ids=HUGE)
def test_a_huge_declared_length_costs_nothing(tmp_path: Path, content: bytes) -> None:
    path = saved(tmp_path, content)
    with little_effort(), pytest.raises(InvalidModelError):
        read_gguf(path)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (LITTLE.key("a string", 8, LITTLE.pack("Q", 2**39)), "larger than"),
        (LITTLE.array("numbers", ValueType.UINT8, 2**39, b""), "larger than"),
        (LITTLE.array("strings", ValueType.STRING, 2**24, b""), "exceed the limit"),
    ],
)
def test_nor_does_it_when_the_file_is_as_huge(tmp_path: Path, key: bytes, reason: str) -> None:
    path = saved(tmp_path, LITTLE.file(key))
    os.truncate(path, 2**40)  # sparse: takes no room
    with little_effort(), pytest.raises(InvalidModelError, match=reason):
        read_gguf(path)


def test_texts_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, LITTLE.file(*(LITTLE.string(f"text.{number}", bytes(2**20)) for number in range(8))))
    with little_effort(), pytest.raises(InvalidModelError, match="exceed the limit"):
        read_gguf(path)


def test_a_vocabulary_of_a_quarter_million_reads_fast(tmp_path: Path) -> None:
    tokens = b"".join(LITTLE.text(f"token {number}") for number in range(262_144))
    path = saved(tmp_path, LITTLE.file(LITTLE.array("tokenizer.ggml.tokens", ValueType.STRING, 262_144, tokens)))
    with little_effort():
        assert read_gguf(path).vocabulary_size == 262_144


def last_tensor(name: str = "u", shape: Sequence[int] = (32,), kind: int = 0, offset: int = 128) -> bytes:
    """A file whose first tensor is right and ends at offset 128."""
    first = LITTLE.tensor("t", (32,), 0, 0)
    return LITTLE.file(tensors=[first, LITTLE.tensor(name, shape, kind, offset)], data=bytes(4096))


CONTRADICTIONS = {
    "an empty file": (b"", "is empty"),
    "half a magic": (b"GG", "letters GGUF"),
    "version 1": (LITTLE.file(version=1), "version 1 is not supported"),
    "version 1, big-endian": (Builder(">").file(version=1), "version 1 is not supported"),
    "version 0": (LITTLE.file(version=0), "unknown GGUF version 0"),
    "version 4": (LITTLE.file(version=4), "unknown GGUF version 4"),
    "an empty key": (LITTLE.file(LITTLE.string("", "x")), "a key is empty"),
    "a key twice": (LITTLE.file(LITTLE.string("a", "x"), LITTLE.string("a", "y")), "'a' occurs twice"),
    "a long key": (LITTLE.file(LITTLE.string("k" * 4097, "x")), "4097 bytes, but at most 4096"),
    "a key in Latin-1": (LITTLE.file(LITTLE.string(b"\xe9", "x")), "not UTF-8"),
    "a value type": (LITTLE.file(LITTLE.key("a", 99, bytes(8))), "unknown value type 99"),
    "a nested array": (LITTLE.file(LITTLE.array("a", ValueType.ARRAY, 1, bytes(12))), "nested arrays"),
    "alignment 0": (LITTLE.file(LITTLE.number("general.alignment", ValueType.UINT32, 0)), "power of two"),
    "alignment 3": (LITTLE.file(LITTLE.number("general.alignment", ValueType.UINT32, 3)), "power of two"),
    "alignment true": (LITTLE.file(LITTLE.number("general.alignment", ValueType.BOOL, True)), "power of two"),
    "a tensor twice": (last_tensor("t"), "'t' occurs twice"),
    "a gap": (last_tensor(offset=160), "at offset 160, not at 128"),
    "an overlap": (last_tensor(offset=96), "at offset 96, not at 128"),
    "a long tensor name": (last_tensor(name="n" * 64), "64 bytes, but at most 63"),
    "five dimensions": (last_tensor(shape=(1, 1, 1, 1, 1)), "5 dimensions"),
    "2^32-1 dimensions": (LITTLE.file(tensors=[LITTLE.text("t") + b"\xff" * 16]), "4294967295 dimensions"),
    "an empty dimension": (last_tensor(shape=(32, 0)), "0 elements"),
    "an overflow": (last_tensor(shape=(2**32, 2**31)), f"{2**63} elements"),
    "half a block": (last_tensor(shape=(16, 2), kind=2), "not whole Q4_0 blocks"),
    "a withdrawn quantization": (last_tensor(kind=4), "unsupported quantization.* type 4"),
    "a fork's quantization": (last_tensor(kind=137), "unsupported quantization.* type 137"),
}


@pytest.mark.parametrize(("content", "reason"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_contradiction_is_named_with_its_byte_and_advice(tmp_path: Path, content: bytes, reason: str) -> None:
    path = saved(tmp_path, content)
    with pytest.raises(InvalidModelError, match=rf"(?m){reason}.* \(byte \d+\)$") as caught:
        read_gguf(path)
    assert str(path) in str(caught.value)
    assert caught.value.resolution_steps


def test_names_from_the_file_are_shown_short_and_escaped(tmp_path: Path) -> None:
    name = "\x1b[2J" + "n" * 1000
    with pytest.raises(InvalidModelError) as caught:
        read_gguf(saved(tmp_path, LITTLE.file(LITTLE.string(name, "x"), LITTLE.string(name, "x"))))
    assert r"'\x1b[2Jnnn" in str(caught.value) and "n" * 64 not in str(caught.value)


def test_a_file_of_another_kind_is_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "secrets.txt"
    path.write_text("password=hunter2 " * 100)
    with pytest.raises(InvalidModelError) as caught:
        read_gguf(path)
    assert "letters GGUF" in str(caught.value)
    assert not any("pass" in text for text in (str(caught.value), *caught.value.resolution_steps))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.gguf", tmp_path / ("long" * 999)):
        assert not looks_like_gguf(path)
        with pytest.raises(InvalidModelError, match="is not a file|does not exist|cannot be read"):
            read_gguf(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert not looks_like_gguf(tmp_path / "pipe")
    with pytest.raises(InvalidModelError, match="is not a file"):
        read_gguf(tmp_path / "pipe")


def test_the_quick_look_asks_for_the_magic_only(tmp_path: Path, tiny: Path) -> None:
    assert looks_like_gguf(tiny) and looks_like_gguf(saved(tmp_path, b"GGUF, then nothing sensible"))
    assert not any(looks_like_gguf(saved(tmp_path, other)) for other in (b"gguf", b"GG", b""))


SAMPLES = [small_model(), small_model(Builder(">"))]
EDITS = st.lists(st.tuples(st.integers(0, len(SAMPLES[0]) - 1), st.integers(0, 255)), max_size=8)


@settings(max_examples=400, deadline=5000)
@given(sample=st.sampled_from(SAMPLES), edits=EDITS, length=st.integers(0, len(SAMPLES[0])) | st.none())
def test_random_damage_is_survived_or_named(
    tmp_path_factory: pytest.TempPathFactory, sample: bytes, edits: list[tuple[int, int]], length: int | None
) -> None:
    damaged = bytearray(sample)
    for position, byte in edits:
        damaged[position] = byte
    path = saved(tmp_path_factory.getbasetemp(), bytes(damaged[:length]))
    try:
        read_gguf(path)
    except InvalidModelError as error:
        assert "(byte " in str(error)


@pytest.mark.parametrize(("architecture", "pooling"), [("bert", 0), ("nomic-bert", 0), ("llama", None)])
def test_an_encoder_embeds_even_if_it_does_not_state_its_pooling(
    tmp_path: Path, architecture: str, pooling: int | None
) -> None:
    path = write_gguf(tmp_path / "m.gguf", {"general.architecture": scalar(architecture)}, [])
    assert read_gguf(path).pooling_type == pooling
