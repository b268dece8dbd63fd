import json
import os
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oprel.core.exceptions import InvalidModelError
from oprel.formats.hugging_face.safetensors import BITS, StoredTensor, read_index, read_safetensors
from tests.fixtures.hf_folder import encoded, entries, safetensors, write_folder

SHAPES = {"model.embed.weight": ("BF16", (10, 4)), "model.norm.weight": ("F32", (4,)), "empty": ("F16", (0, 3))}


def saved(folder: Path, content: bytes) -> Path:
    path = folder / "model.safetensors"
    path.write_bytes(content)
    return path


def test_a_file_tells_its_tensors_in_the_order_of_its_data(tmp_path: Path) -> None:
    path = saved(tmp_path, safetensors(SHAPES))
    file = read_safetensors(path)
    assert file.tensors == (
        StoredTensor(name="model.embed.weight", dtype="BF16", shape=(10, 4), offset=0, size_bytes=80),
        StoredTensor(name="model.norm.weight", dtype="F32", shape=(4,), offset=80, size_bytes=16),
        StoredTensor(name="empty", dtype="F16", shape=(0, 3), offset=96, size_bytes=0),
    )
    assert [tensor.elements for tensor in file.tensors] == [40, 4, 0]
    assert file.metadata == {"format": "pt"}
    assert file.data_offset + 96 == file.size_bytes == path.stat().st_size


def test_a_number_alone_has_no_sides(tmp_path: Path) -> None:
    assert read_safetensors(saved(tmp_path, safetensors({"scale": ("F32", ())}))).tensors[0].elements == 1


def test_half_bytes_are_counted_in_pairs(tmp_path: Path) -> None:
    assert read_safetensors(saved(tmp_path, safetensors({"a": ("F4", (3, 2))}))).tensors[0].size_bytes == 3
    odd = encoded({"a": {"dtype": "F4", "shape": [3], "data_offsets": [0, 1]}}, 1)
    with pytest.raises(InvalidModelError, match=r"but needs 1\.5"):
        read_safetensors(saved(tmp_path, odd))


def test_spaces_may_fill_the_header(tmp_path: Path) -> None:
    header = json.dumps(entries(SHAPES)).encode() + b" " * 50
    assert len(read_safetensors(saved(tmp_path, encoded(header, 96))).tensors) == 3


@pytest.mark.parametrize("length", [*range(1, 8), 9, 100, 200, -1, -40])
def test_a_truncated_download_is_recognized(tmp_path: Path, length: int) -> None:
    with pytest.raises(InvalidModelError, match=r"\(byte \d+\)") as caught:
        read_safetensors(saved(tmp_path, safetensors(SHAPES)[:length]))
    assert "damaged or incomplete" in caught.value.resolution_steps[0]


def tensor(**changes: object) -> dict[str, Any]:
    return {"t": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


def other(begin: int, end: int) -> dict[str, Any]:
    return {"u": {"dtype": "U8", "shape": [end - begin], "data_offsets": [begin, end]}}


WRONG: Mapping[str, tuple[object, str]] = {
    "no object": ([], "not a JSON object"),
    "spaces before it": (b" {}", "not a JSON object"),
    "no JSON": (b"{", r"its JSON is invalid: .* \(byte 9\)"),
    "not UTF-8": (b'{"\xff": 1}', r"not UTF-8 \(byte 10\)"),
    "UTF-16": ('{"a": 1}'.encode("utf-16-le"), "its JSON is invalid"),
    "deep": (b'{"a":' + b"[" * 100_000, "its JSON is invalid"),
    "many values": (b'{"a":[' + b"0," * 500_001 + b"0]}", "more than 500000 values"),
    "a long number": (b'{"a":' + b"9" * 5000 + b"}", "its JSON is invalid"),
    "no number": (b'{"a": NaN}', "NaN is not a number"),
    "a name twice": (b'{"a": 1, "a": 2}', "the name 'a' occurs twice"),
    "a key twice": (b'{"a": {"dtype": "F32", "dtype": "F16"}}', "'dtype' occurs twice"),
    "metadata": ({"__metadata__": {"a": 1}}, "values that are not strings"),
    "metadata list": ({"__metadata__": []}, "is not an object"),
    "a text": ({"t": "F32"}, "lacks a dtype"),
    "nothing": ({"t": {}}, "lacks a dtype"),
    "one offset": (tensor(data_offsets=[8]), "lacks a dtype"),
    "half an offset": (tensor(data_offsets=[0, 8.0]), "lacks a dtype"),
    "true as offset": (tensor(data_offsets=[False, 8]), "lacks a dtype"),
    "a dtype": (tensor(dtype="Q4_K"), "unknown dtype 'Q4_K'"),
    "a negative side": (tensor(shape=[-2, -1]), "has an invalid shape"),
    "true as side": (tensor(shape=[2, True]), "has an invalid shape"),
    "many sides": (tensor(shape=[1] * 17), "has an invalid shape"),
    "too many elements": (tensor(shape=[2**32, 2**32]), "too many elements"),
    "an enormous side": (tensor(shape=[0, 10**4000]), "too many elements"),
    "a wrong size": (tensor(data_offsets=[0, 12]), "bytes 0 to 12 of the data, but needs 8"),
    "the wrong way": (tensor(data_offsets=[8, 0]), "bytes 8 to 0 of the data, but needs 8"),
    "before the data": (tensor(data_offsets=[-8, 0]), "bytes -8 to 0"),
    "far behind the data": (tensor(data_offsets=[10**4000, 10**4000 + 8]), "starts at byte more than"),
    "an overlap": (tensor() | other(4, 12), r"'u' starts at byte 4 of the data, not at 8 \(byte \d+\)"),
    "the same place": (tensor() | other(0, 8), "starts at byte 0 of the data, not at 8"),
    "a gap": (tensor() | other(9, 12), "'u' starts at byte 9 of the data, not at 8"),
    "a gap in front": (tensor(data_offsets=[4, 12]), "'t' starts at byte 4 of the data, not at 0"),
    "too little data": (tensor() | other(8, 13), "its tensors take 13 bytes, but its data has 12"),
    "too much data": (tensor(), "its tensors take 8 bytes, but its data has 12"),
    "an escape sequence": ({"\x1b[2J": 1}, r"the tensor '\\x1b\[2J'"),
    "half a character": (b'{"\\ud800": 1}', r"the tensor '\\ud800'"),
}


@pytest.mark.parametrize(("header", "reason"), WRONG.values(), ids=WRONG)
def test_what_contradicts_itself_is_refused(tmp_path: Path, header: object, reason: str) -> None:
    with pytest.raises(InvalidModelError, match=reason) as caught:
        read_safetensors(saved(tmp_path, encoded(header, 12)))
    assert "(byte " in caught.value.message and len(caught.value.message) < 1000


@pytest.mark.parametrize("length", [2**24 + 1, 2**62, 2**64 - 1])
def test_a_huge_declared_header_costs_nothing(tmp_path: Path, length: int) -> None:
    path = saved(tmp_path, length.to_bytes(8, "little") + b"{}")
    os.truncate(path, 2**40)  # sparse: takes no room
    tracemalloc.start()
    try:
        with pytest.raises(InvalidModelError, match="at most 16777216 are allowed"):
            read_safetensors(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_what_is_no_file_is_said_so(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (("pipe", "is not a file"), (".", "is not a file"), ("none", "does not exist")):
        with pytest.raises(InvalidModelError, match=reason):
            read_safetensors(tmp_path / name)


def read_or_refuse_mutated(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(safetensors(SHAPES))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        piece = data.draw(st.one_of(st.binary(max_size=3), st.sampled_from([b'"', b"}", b"[", b"9" * 30, b"-", b"{"])))
        content[place : place + data.draw(st.integers(0, 3))] = piece
    path = saved(tmp_path_factory.getbasetemp(), bytes(content))
    try:
        file = read_safetensors(path)
        assert file.data_offset + sum(tensor.size_bytes for tensor in file.tensors) == path.stat().st_size
    except InvalidModelError as error:
        assert "(byte " in error.message


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_mutated_headers_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    read_or_refuse_mutated(tmp_path_factory, data)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=20_000, deadline=None)
@given(data=st.data())
def test_twenty_thousand_of_them_are(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    read_or_refuse_mutated(tmp_path_factory, data)


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["F32", "BF16", "dtype"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets", "__metadata__", "t"]), inner, max_size=4)
    ),
)
ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(sorted(BITS)) | JSONS,
        "shape": st.lists(st.integers(-1, 9) | JSONS, max_size=3) | JSONS,
        "data_offsets": st.lists(st.integers(-1, 99) | JSONS, min_size=1, max_size=3) | JSONS,
    }
)


@settings(max_examples=300, deadline=None)
@given(header=st.dictionaries(st.text(max_size=4), ENTRY | JSONS, max_size=4), size=st.integers(0, 99))
def test_so_are_headers_of_anything(tmp_path_factory: pytest.TempPathFactory, header: object, size: int) -> None:
    path = saved(tmp_path_factory.getbasetemp(), encoded(header, size))
    try:
        assert sum(one.size_bytes for one in read_safetensors(path).tensors) == size
    except InvalidModelError as error:
        assert "(byte " in error.message


def indexed(folder: Path, weight_map: object) -> Path:
    return write_folder(folder, {"model.safetensors.index.json": {"weight_map": weight_map}}) / (
        "model.safetensors.index.json"
    )


def test_an_index_tells_the_files_once_each(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a.safetensors": b"", "b.safetensors": b""})
    index = indexed(tmp_path, {"x": "b.safetensors", "y": "a.safetensors", "z": "b.safetensors"})
    assert read_index(index) == (tmp_path / "a.safetensors", tmp_path / "b.safetensors")


@pytest.mark.parametrize(
    "name",
    ["../a.safetensors", "/etc/passwd", "sub/a.safetensors", "..", "", 1, None, ["a"], "a.safetensors\0", "a.py"],
)
def test_an_index_cannot_lead_elsewhere(tmp_path: Path, name: object) -> None:
    with pytest.raises(InvalidModelError, match="not a file of its folder"):
        read_index(indexed(tmp_path, {"x": name}))


def test_an_index_of_missing_files_or_of_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match="1 of its 1 files are missing, 'a.safetensors' first"):
        read_index(indexed(tmp_path, {"x": "a.safetensors"}))
    for empty in (dict[str, str](), list[str](), None):
        with pytest.raises(InvalidModelError, match="no weight_map"):
            read_index(indexed(tmp_path, empty))
