"""Measured and predicted memory of engines, kept in OPREL_HOME/state.db to correct later estimates.

The estimates of weights, caches and states are exact. Only the compute buffers are corrected: by earlier loads of the
model with the same engine, or else of other models of its architecture.
"""

import logging
import sqlite3
from pathlib import Path

from oprel.runtime.backends.engines.llama_log import Buffers
from oprel.telemetry.memory.corrections import NONE, Corrections
from oprel.telemetry.memory.estimator import Estimate
from oprel.utils.text import timestamp

logger = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS calibration (
    model TEXT NOT NULL, architecture TEXT NOT NULL, engine TEXT NOT NULL, setting TEXT NOT NULL, at TEXT NOT NULL,
    predicted_weights INTEGER, predicted_kv INTEGER, predicted_state INTEGER, predicted_compute INTEGER,
    predicted_output INTEGER, weights INTEGER, kv INTEGER, state INTEGER, compute INTEGER, output INTEGER,
    on_gpus INTEGER, resident INTEGER,
    PRIMARY KEY (model, engine, setting)
);
"""
NEWEST = "SELECT compute, predicted_compute FROM calibration WHERE engine = ? AND {} = ? ORDER BY at DESC LIMIT 8"
LEAST, MOST = 0.5, 2.0  # limits of a correction: beyond them something else is wrong


class Calibration:
    """Owner of the table. If the database cannot be used, nothing is corrected."""

    def __init__(self, file: Path) -> None:
        self._database: sqlite3.Connection | None = None
        try:
            self._database = sqlite3.connect(file, timeout=1.0, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.executescript(SCHEMA)
        except sqlite3.Error as error:
            logger.warning("cannot record the memory that engines take: %s: %s", file, error)

    def corrections(self, model: str, architecture: str, engine: str) -> Corrections:
        """What earlier loads say of the estimates. `model` is a digest."""
        for column, value in (("model", model), ("architecture", architecture)):
            rows = self._rows(NEWEST.format(column), (engine, value))
            ratios = sorted(measured / predicted for measured, predicted in rows if measured and predicted)
            if ratios:
                return Corrections(compute=min(MOST, max(LEAST, ratios[len(ratios) // 2])))
        return NONE

    def note(
        self, model: str, architecture: str, engine: str, setting: str, *, predicted: Estimate, measured: Buffers
    ) -> None:
        """Record what an engine allocated for a load. `predicted` is the estimate without correction."""
        row = (
            *(model, architecture, engine, setting, timestamp()),
            *(predicted.weights_bytes, predicted.kv_bytes, predicted.state_bytes, predicted.compute_bytes),
            *(predicted.output_bytes, measured.weights, measured.kv, measured.state, measured.compute),
            *(measured.output, measured.on_gpus, None),
        )
        self._execute(f"INSERT OR REPLACE INTO calibration VALUES ({', '.join('?' * len(row))})", row)

    def note_resident(self, model: str, engine: str, setting: str, bytes: int) -> None:
        """Record how much memory the engine's processes used in the end."""
        query = "UPDATE calibration SET resident = ? WHERE model = ? AND engine = ? AND setting = ?"
        self._execute(query, (bytes, model, engine, setting))

    def close(self) -> None:
        """Close the database; later notes are dropped."""
        if self._database:
            self._database.close()
            self._database = None

    def _rows(self, query: str, values: tuple[str, ...]) -> list[tuple[int | None, int | None]]:
        try:
            return self._database.execute(query, values).fetchall() if self._database else []
        except sqlite3.Error:
            return []

    def _execute(self, query: str, values: tuple[object, ...]) -> None:
        try:
            if self._database:
                with self._database:
                    self._database.execute(query, values)
        except sqlite3.Error as error:
            logger.warning("cannot record the memory of an engine: %s", error)
