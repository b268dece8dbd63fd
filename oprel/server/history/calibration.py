"""What engines really took, beside what was predicted: in OPREL_HOME/state.db, and a correction of the next estimate.

Weights, caches and states are exact already; what is learned is how far off the compute buffers of a model are, or of
its architecture where the model itself was never loaded by this engine.
"""

import logging
import sqlite3
from pathlib import Path

from oprel.runtime.backends.engines.llama_log import Buffers
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
LEAST, MOST = 0.5, 2.0  # what a correction may be: beyond that something else is wrong


class Calibration:
    """Owner of the table. It is experience only: where the database cannot be used, there is none."""

    def __init__(self, file: Path) -> None:
        self._database: sqlite3.Connection | None = None
        try:
            self._database = sqlite3.connect(file, timeout=1.0, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.executescript(SCHEMA)
        except sqlite3.Error as error:
            logger.warning("what engines take is not remembered: %s: %s", file, error)

    def compute_ratio(self, model: str, architecture: str, engine: str) -> float:
        """By what to multiply a compute buffer's estimate; `model` is a digest."""
        for column, value in (("model", model), ("architecture", architecture)):
            rows = self._rows(NEWEST.format(column), (engine, value))
            ratios = sorted(measured / predicted for measured, predicted in rows if measured and predicted)
            if ratios:
                return min(MOST, max(LEAST, ratios[len(ratios) // 2]))
        return 1.0

    def note(
        self, model: str, architecture: str, engine: str, setting: str, predicted: Estimate, measured: Buffers
    ) -> None:
        """An engine has loaded. `predicted` without any correction."""
        row = (
            *(model, architecture, engine, setting, timestamp()),
            *(predicted.weights_bytes, predicted.kv_bytes, predicted.state_bytes, predicted.compute_bytes),
            *(predicted.output_bytes, measured.weights, measured.kv, measured.state, measured.compute),
            *(measured.output, measured.on_gpus, None),
        )
        self._do(f"INSERT OR REPLACE INTO calibration VALUES ({', '.join('?' * len(row))})", row)

    def note_resident(self, model: str, engine: str, setting: str, bytes: int) -> None:
        """What its processes had in memory in the end."""
        query = "UPDATE calibration SET resident = ? WHERE model = ? AND engine = ? AND setting = ?"
        self._do(query, (bytes, model, engine, setting))

    def close(self) -> None:
        if self._database:
            self._database.close()
            self._database = None

    def _rows(self, query: str, values: tuple[str, ...]) -> list[tuple[int | None, int | None]]:
        try:
            return self._database.execute(query, values).fetchall() if self._database else []
        except sqlite3.Error:
            return []

    def _do(self, query: str, values: tuple[object, ...]) -> None:
        try:
            if self._database:
                with self._database:
                    self._database.execute(query, values)
        except sqlite3.Error as error:
            logger.warning("what an engine takes was not written down: %s", error)
