"""Model files that are none: each is refused in words, and the daemon goes on."""

import struct
from pathlib import Path

import pytest

import oprel
from oprel.client_api import Client


def refusal(client: Client, file: Path) -> oprel.OprelError:
    with pytest.raises(oprel.OprelError) as caught:
        client.generate(str(file), "hello", options={"num_predict": 1})
    assert client.health().status == "ok"
    return caught.value


@pytest.mark.parametrize("twentieth", range(20))
def test_a_file_cut_anywhere_is_refused_before_an_engine_sees_it(client, tiny: Path, tmp_path: Path, twentieth: int):
    whole = tiny.read_bytes()
    file = tmp_path / "cut.gguf"
    file.write_bytes(whole[: max(4, len(whole) * twentieth // 20)])
    error = refusal(client, file)
    assert isinstance(error, oprel.InvalidModelError), error
    assert not any("cut" in engine.name for engine in client.engines().models)


@pytest.mark.parametrize("field", [8, 16], ids=["tensors", "keys"])
def test_a_huge_declared_count_is_refused(client: Client, tiny: Path, tmp_path: Path, field: int):
    content = bytearray(tiny.read_bytes())
    content[field : field + 8] = struct.pack("<Q", 2**62)
    file = tmp_path / "huge.gguf"
    file.write_bytes(content)
    assert isinstance(refusal(client, file), oprel.InvalidModelError)


def test_a_text_file_is_no_model_whatever_its_name(client: Client, tmp_path: Path):
    file = tmp_path / "notes.gguf"
    file.write_text("dear diary")
    error = refusal(client, file)
    assert isinstance(error, oprel.ModelNotFoundError)
    assert "diary" not in error.message


def test_an_empty_folder_and_no_file_are_no_model(client: Client, tmp_path: Path):
    assert isinstance(refusal(client, tmp_path), oprel.ModelNotFoundError)
    assert isinstance(refusal(client, tmp_path / "nothing.gguf"), oprel.ModelNotFoundError)


def test_a_file_that_changes_is_read_again(client: Client, tiny: Path, tmp_path: Path):
    file = tmp_path / "model.gguf"
    file.write_bytes(tiny.read_bytes()[:1000])
    refusal(client, file)
    file.write_bytes(tiny.read_bytes())
    assert client.show(str(file)).details.family == "llama"


def test_an_architecture_that_no_engine_knows_is_told_so(client: Client, tiny: Path, tmp_path: Path):
    file = tmp_path / "alien.gguf"
    file.write_bytes(tiny.read_bytes().replace(b"llama", b"alien"))
    error = refusal(client, file)
    assert isinstance(error, oprel.BackendStartError)
    assert "unknown model architecture" in error.message
