"""What engines took, remembered and used."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from oprel.runtime.backends.engines.llama_log import Buffers
from oprel.server.history.calibration import LEAST, MOST, Calibration
from oprel.telemetry.memory.corrections import Corrections
from oprel.telemetry.memory.estimator import estimate
from oprel.telemetry.memory.load_shape import LoadShape
from tests.fixtures.known_models import known_header

PREDICTED = estimate(known_header("qwen2.5-0.5b"), LoadShape(context=4096))


def measured(ratio: float) -> Buffers:
    return Buffers(compute=round(PREDICTED.compute_bytes * ratio))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def calibration(file: Path) -> Iterator[Calibration]:
    opened = Calibration(file)
    yield opened
    opened.close()


def test_without_experience_nothing_is_corrected(calibration: Calibration) -> None:
    assert calibration.corrections("model", "llama", "engine").compute == 1.0


def test_a_models_own_experience_counts_before_that_of_its_architecture(calibration: Calibration) -> None:
    calibration.note("one", "llama", "engine", "a", predicted=PREDICTED, measured=measured(1.2))
    calibration.note("two", "llama", "engine", "a", predicted=PREDICTED, measured=measured(0.9))
    assert calibration.corrections("one", "llama", "engine").compute == pytest.approx(1.2, abs=1e-6)
    assert calibration.corrections("three", "llama", "engine").compute == pytest.approx(1.2, abs=1e-6)
    assert calibration.corrections("one", "llama", "another engine").compute == 1.0
    assert calibration.corrections("four", "qwen2", "engine").compute == 1.0


@pytest.mark.parametrize(("ratio", "used"), [(0.01, LEAST), (50.0, MOST)])
def test_what_cannot_be_right_is_bounded(calibration: Calibration, ratio: float, used: float) -> None:
    calibration.note("one", "llama", "engine", "a", predicted=PREDICTED, measured=measured(ratio))
    assert calibration.corrections("one", "llama", "engine").compute == used


def test_it_outlives_the_daemon_and_keeps_both_figures(file: Path, calibration: Calibration) -> None:
    calibration.note(
        "one", "llama", "engine", "a", predicted=PREDICTED, measured=replace(measured(1.5), kv=7, weights=9)
    )
    calibration.note_resident("one", "engine", "a", 123)
    calibration.close()
    with sqlite3.connect(file) as database:
        query = "SELECT predicted_kv, kv, weights, resident FROM calibration"
        assert database.execute(query).fetchall() == [(PREDICTED.kv_bytes, 7, 9, 123)]
    again = Calibration(file)
    assert again.corrections("one", "llama", "engine").compute == pytest.approx(1.5, abs=1e-6)
    again.close()


def test_where_no_database_can_be_there_is_none(tmp_path: Path) -> None:
    blind = Calibration(tmp_path / "absent" / "state.db")
    blind.note("one", "llama", "engine", "a", predicted=PREDICTED, measured=measured(2))
    assert blind.corrections("one", "llama", "engine").compute == 1.0
    blind.close()


def test_an_estimate_is_corrected_in_its_compute_buffers_only() -> None:
    more = PREDICTED.corrected(Corrections(compute=1.5))
    assert more.compute_bytes == pytest.approx(1.5 * PREDICTED.compute_bytes, abs=2)
    assert (more.weights_bytes, more.kv_bytes) == (PREDICTED.weights_bytes, PREDICTED.kv_bytes)
