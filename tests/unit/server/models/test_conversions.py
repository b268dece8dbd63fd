"""The cache of converted models: made once, made again, and removed with its folder."""

from pathlib import Path

import pytest

from oprel.core.exceptions import InvalidModelError
from oprel.formats.gguf import read_gguf
from oprel.server.models.conversions import Conversions, convert
from tests.fixtures.hf_bert import write_tiny_bert

STATE, LATER = ((1, 2),), ((3, 4),)


def test_the_file_is_made_once_and_has_its_header(tmp_path: Path) -> None:
    source, conversions = write_tiny_bert(tmp_path / "model"), Conversions(tmp_path / "converted")
    target = conversions.path(source, STATE)
    convert(source, target)
    made = target.stat().st_mtime_ns
    convert(source, target)
    assert target.stat().st_mtime_ns == made
    assert read_gguf(target) == conversions.header(source, STATE)


def test_a_later_state_replaces_an_earlier_one(tmp_path: Path) -> None:
    source, conversions = write_tiny_bert(tmp_path / "model"), Conversions(tmp_path / "converted")
    for state in (STATE, LATER):
        convert(source, conversions.path(source, state))
    assert list((tmp_path / "converted").iterdir()) == [conversions.path(source, LATER)]


def test_only_files_of_folders_that_are_gone_are_pruned(tmp_path: Path) -> None:
    conversions = Conversions(tmp_path / "converted")
    kept, used, gone = (write_tiny_bert(tmp_path / name) for name in ("kept", "used", "gone"))
    for source in (kept, used, gone):
        convert(source, conversions.path(source, STATE))
    conversions.prune(lambda: None, [])  # some folders cannot be seen now
    assert len(list((tmp_path / "converted").iterdir())) == 3
    conversions.prune(lambda: [kept], [conversions.path(used, STATE)])
    left = {conversions.path(source, STATE) for source in (kept, used)}
    assert set((tmp_path / "converted").iterdir()) == left


def test_a_damaged_model_leaves_nothing_behind(tmp_path: Path) -> None:
    source, conversions = write_tiny_bert(tmp_path / "model"), Conversions(tmp_path / "converted")
    weights = source / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InvalidModelError):
        convert(source, conversions.path(source, STATE))
    assert not (tmp_path / "converted").exists()
