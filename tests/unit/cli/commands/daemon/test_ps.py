"""What `oprel ps` makes of what the daemon tells, and which columns stay where the terminal is narrow."""

import pytest

from oprel.api_models import ModelDetails, RunningModel
from oprel.cli.commands.daemon.ps import COLUMNS, TITLES, engine_row, waiting_row
from oprel.cli.screen.table import drawn, named
from oprel.wire.daemon import BufferSizes, EngineModel, WaitingModel

ENGINE = EngineModel(
    name="tiny:latest",
    names=["tiny:latest"],
    path="/srv/tiny.gguf",
    state="ready",
    pid=1234,
    address="unix:/run/engine-1.sock",
    engine="xllamacpp wheel",
    embedding=False,
    context_length=2048,
    in_flight=15,
    slots=4,
    threads=1,
    batch_threads=2,
    slots_taken=3,
    queued=12,
    tokens_per_second=41.7,
    memory_bytes=310_000_000,
    expected_bytes=450_000_000,
    predicted_bytes=512_000_000,
    predicted=BufferSizes(weights=300_000_000, kv=100_000_000, state=0, compute=1_000_000, output=1000),
    measured=None,
    load_seconds=1.5,
    restarts=2,
    pinned=False,
    adjustments=[],
    expires_at="2999-01-01T00:00:00+00:00",
    last_exit="crash_signal: SIGSEGV",
)
RUNNING = RunningModel(
    name="tiny:latest",
    model="tiny:latest",
    size=275_456,
    digest="sha256:" + "0" * 64,
    details=ModelDetails(),
    expires_at="",
    size_vram=0,
    context_length=2048,
)


def test_a_row_has_what_ollamas_users_look_for_and_what_oprel_knows() -> None:
    assert engine_row(ENGINE, {"tiny:latest": RUNNING}) == {
        "NAME": "tiny:latest",
        "ID": "000000000000",
        "SIZE": "275 KB",
        "PROCESSOR": "100% CPU",
        "CONTEXT": "2048",
        "UNTIL": "Forever",
        "STATE": "ready",
        "QUEUE": "3/4 +12",
        "THREADS": "1/2",
        "TOKENS/S": "42",
        "MEMORY": "310 MB of 450 MB",
        "RESERVED": "512 MB",
        "RESTARTS": "2",
        "PID": "1234",
        "ENGINE": "xllamacpp wheel",
    }


def test_every_cell_has_its_column() -> None:
    assert engine_row(ENGINE, {}).keys() == {*TITLES}
    assert waiting_row(WaitingModel(name="big", bytes=9, seconds=1.0, why="")).keys() <= {*TITLES}


@pytest.mark.parametrize(
    ("changes", "title", "cell"),
    [
        ({"pinned": True}, "UNTIL", "pinned"),
        ({"state": "crashed"}, "UNTIL", "crash_signal: SIGSEGV"),
        ({"state": "crashed", "pinned": True}, "UNTIL", "crash_signal: SIGSEGV"),
        ({"state": "starting"}, "UNTIL", "starting"),
        ({"expires_at": None}, "UNTIL", ""),
        ({"queued": 0}, "QUEUE", "3/4"),
        ({"tokens_per_second": None}, "TOKENS/S", ""),
        ({"memory_bytes": 0}, "MEMORY", "- of 450 MB"),
        ({"embedding": True}, "NAME", "tiny:latest (embedding)"),
    ],
)
def test_what_is_otherwise_shows(changes: dict[str, object], title: str, cell: str) -> None:
    assert engine_row(ENGINE.model_copy(update=changes), {})[title] == cell


def test_a_model_that_waits_has_a_row_too() -> None:
    row = waiting_row(WaitingModel(name="big", bytes=4_700_000_000, seconds=3.0, why="tiny must have ended"))
    assert row == {"NAME": "big", "UNTIL": "waiting for memory", "STATE": "waiting", "RESERVED": "4.7 GB"}


def shown(width: int) -> list[str]:
    row = engine_row(ENGINE, {"tiny:latest": RUNNING})
    return drawn(named(COLUMNS), [[row[title] for title in TITLES]], width).titles


def test_a_narrow_terminal_shows_the_columns_of_ollama_first() -> None:
    assert shown(50) == ["NAME", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"]
    assert shown(60) == ["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"]
    assert shown(80)[:6] == ["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"]


def test_a_wide_terminal_shows_all_columns() -> None:
    assert shown(200) == [*TITLES]
