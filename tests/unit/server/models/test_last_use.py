"""When models were last used."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oprel.core.models.disks import Disks
from oprel.server.models.last_use import WRITE_INTERVAL, LastUse


def model(path: Path) -> Any:
    return SimpleNamespace(weights=path)


def test_it_is_known_after_a_restart(tmp_path: Path):
    path, weights = tmp_path / "last-used.json", tmp_path / "m.gguf"
    weights.touch()
    last_use = LastUse(path, clock=lambda: 100.0)
    last_use.note(model(weights))
    last_use.close()
    assert LastUse(path).of(weights) == 100.0
    assert LastUse(path).of(tmp_path / "other.gguf") is None


def test_it_is_written_down_once_a_minute(tmp_path: Path):
    path, weights, now = tmp_path / "last-used.json", tmp_path / "m.gguf", [1000.0]
    weights.touch()
    last_use = LastUse(path, clock=lambda: now[0])
    last_use.note(model(weights))
    now[0] += WRITE_INTERVAL / 2
    last_use.note(model(weights))
    assert LastUse(path).of(weights) == 1000.0
    now[0] += WRITE_INTERVAL
    last_use.note(model(weights))
    assert LastUse(path).of(weights) == now[0]


def test_a_model_whose_disk_is_away_is_not_forgotten(tmp_path: Path):
    path, weights = tmp_path / "last-used.json", tmp_path / "disk" / "m.gguf"
    last_use = LastUse(path, clock=lambda: 100.0, is_away=Disks(tmp_path / "home").away)
    last_use.note(model(weights))
    last_use.close()
    assert LastUse(path).of(weights) == 100.0


def test_a_model_that_is_gone_is_forgotten(tmp_path: Path):
    last_use = LastUse(tmp_path / "last-used.json")
    last_use.note(model(tmp_path / "gone.gguf"))
    last_use.close()
    assert LastUse(tmp_path / "last-used.json").of(tmp_path / "gone.gguf") is None


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": "b"}', '{"a": null}', "[" * 10_000], ids=range(6))
def test_a_damaged_file_is_as_none(tmp_path: Path, content: str):
    (tmp_path / "last-used.json").write_text(content)
    assert LastUse(tmp_path / "last-used.json").of(tmp_path) is None


def test_a_folder_that_cannot_be_written_to_ends_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    LastUse(tmp_path / "nowhere" / "last-used.json").note(model(tmp_path))
    assert "cannot be written" in caplog.text
