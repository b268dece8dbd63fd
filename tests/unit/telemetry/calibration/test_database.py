"""Past loads in a database: remembered, outdated, migrated."""

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from oprel.telemetry.calibration.database import Calibration, LoadIdentity, model_key, recall
from oprel.telemetry.calibration.learning import Buffers, EstimatedLoad, PastLoad, ResidentMemory
from oprel.telemetry.memory.corrections import NONE

ONE = LoadIdentity(model="one", architecture="llama", build="engine 1")
ESTIMATED = EstimatedLoad(buffers=Buffers(weights=1000, compute=100), process=50, at_work=5, untouched=100, pool=10)


def past(ratio: float) -> PastLoad:
    logged = Buffers(weights=1000, compute=round(100 * ratio))
    return PastLoad(setting="a", estimated=ESTIMATED, logged=logged, resident=ResidentMemory(ready=1045))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def calibration(file: Path) -> Iterator[Calibration]:
    opened = Calibration(file)
    yield opened
    opened.close()


def test_a_load_counts_for_its_model_its_architecture_and_its_build(calibration: Calibration) -> None:
    calibration.note(ONE, past(1.2))
    calibration.note(replace(ONE, model="two"), past(0.9))
    assert calibration.corrections(ONE).compute == pytest.approx(1.2)
    assert calibration.corrections(replace(ONE, model="three")).compute == pytest.approx(1.2)
    assert calibration.corrections(replace(ONE, build="engine 2")) is NONE
    assert calibration.corrections(replace(ONE, model="four", architecture="qwen2")) is NONE


def test_the_newest_loads_count(calibration: Calibration) -> None:
    for ratio in [0.8] * 20 + [1.1] * 16:
        calibration.note(ONE, past(ratio))
    corrections = calibration.corrections(ONE)
    assert corrections.compute == pytest.approx(1.1) and corrections.loads == 16


def test_it_outlives_the_daemon_with_the_peak(file: Path, calibration: Calibration) -> None:
    number = calibration.note(ONE, past(1.5))
    assert number is not None
    calibration.note_peak(number, 1220, was_busy=True)
    calibration.close()
    calibration.note(ONE, past(9))  # the daemon is ending: dropped
    again = recall(file, ONE)
    assert again.compute == pytest.approx(1.5) and again.loads == 1
    assert again.peaks == (("a", 1210),)
    assert again.process == pytest.approx(60 / 50)


def test_others_read_what_the_daemon_writes_and_make_no_file(file: Path) -> None:
    assert recall(file, ONE) is NONE and not file.exists()
    owner = Calibration(file)
    owner.note(ONE, past(1.5))
    assert recall(file, ONE).compute == pytest.approx(1.5)
    owner.close()


def test_the_table_of_an_earlier_version_is_replaced(file: Path) -> None:
    with sqlite3.connect(file) as old:
        old.execute("CREATE TABLE calibration (model TEXT, engine TEXT, setting TEXT, compute INTEGER)")
        old.execute("INSERT INTO calibration VALUES ('one', 'engine 1', 'a', 9)")
    old.close()
    assert recall(file, ONE) is NONE
    opened = Calibration(file)
    assert opened.corrections(ONE) is NONE
    opened.note(ONE, past(1.5))
    assert opened.corrections(ONE).compute == pytest.approx(1.5)
    opened.close()


def test_where_no_database_can_be_there_is_none(tmp_path: Path) -> None:
    blind = Calibration(tmp_path / "absent" / "state.db")
    assert blind.note(ONE, past(2)) is None
    assert blind.corrections(ONE) is NONE
    blind.close()


def test_a_file_that_changed_is_another_model(tmp_path: Path) -> None:
    weights, link = tmp_path / "m.gguf", tmp_path / "link.gguf"
    weights.write_bytes(b"one")
    link.symlink_to(weights)
    before = model_key([weights])
    assert model_key([link]) == before != model_key([weights, link])
    os.utime(weights, ns=(0, 0))
    assert model_key([weights]) != before
    assert model_key([tmp_path / "absent"]) == str(tmp_path / "absent")


def test_a_file_may_have_any_name(calibration: Calibration, tmp_path: Path) -> None:
    keys = [model_key([tmp_path / os.fsdecode(name)]) for name in (b"g\xff.gguf", b"g\xfe.gguf")]
    assert keys[0] != keys[1]
    calibration.note(replace(ONE, model=keys[0]), past(1.5))
    assert calibration.corrections(replace(ONE, model=keys[0])).loads == 1
