"""What is kept of a crash, and what happens to files that are not what they should be."""

import json
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from oprel.core.exceptions import ValidationError
from oprel.runtime.exits import Exit, Reason
from oprel.runtime.supervisor.child import Ended
from oprel.server.history.crash_reports import Crashes, InFlight

ENDED = Ended(
    label="tiny",
    exit=Exit(Reason.CRASH_SIGNAL, "SIGSEGV", "Ask again."),
    command=("/opt/llama-server", "--model", "tiny.gguf"),
    binary="/opt/llama-server",
    log=tuple(f"line {number}" for number in range(200)),
    memory=((0.5, 1000), (1.5, 2000)),
    uptime=12.34567,
    served=10.0,
    pid=1234,
)
REQUEST = InFlight(hash="0123456789abcdef", characters=14, max_tokens=None, seconds=1.5, prompt="my own secret")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "crashes"


def record(
    folder: Path, ended: Ended = ENDED, requests: Sequence[InFlight] = (), model: str = "tiny", *, prompts: bool = False
) -> str:
    """The ID of a report that is written by now."""
    crashes = Crashes(folder, prompts=prompts)
    id = crashes.record(ended, requests, model, starts=3)
    crashes.paths()
    return id


def test_all_that_is_known_of_an_end_is_written_down(folder: Path) -> None:
    id = record(folder, requests=[REQUEST])
    crash = Crashes(folder).find(id)
    assert (crash.model, crash.reason, crash.detail, crash.advice) == ("tiny", "crash_signal", "SIGSEGV", "Ask again.")
    assert (crash.pid, crash.starts, crash.uptime_seconds, crash.served_seconds) == (1234, 3, 12.346, 10.0)
    assert crash.command == list(ENDED.command)
    assert crash.log == list(ENDED.log)
    assert crash.memory == [(0.5, 1000), (1.5, 2000)]
    (request,) = crash.requests
    assert (request.hash, request.characters, request.max_tokens, request.seconds) == (REQUEST.hash, 14, None, 1.5)


def test_what_was_asked_is_written_only_where_that_is_allowed(folder: Path) -> None:
    record(folder, requests=[REQUEST])
    (file,) = folder.iterdir()
    assert "secret" not in file.read_text()
    told = record(folder, requests=[REQUEST], prompts=True)
    assert Crashes(folder).find(told).requests[0].prompt == "my own secret"


def test_nobody_else_can_read_them(folder: Path) -> None:
    record(folder)
    (file,) = folder.iterdir()
    assert (stat.S_IMODE(folder.stat().st_mode), stat.S_IMODE(file.stat().st_mode)) == (0o700, 0o600)


@pytest.mark.parametrize(
    ("model", "end"), [("guide:latest", "guide-latest"), ("/srv/models/tiny.gguf", "tiny.gguf"), ("../..", "1234-")]
)
def test_an_id_is_a_time_a_process_and_a_models_name(folder: Path, model: str, end: str) -> None:
    id = record(folder, model=model)
    assert id.endswith(end)
    assert [file.name for file in folder.iterdir()] == [f"{id}.json"]


def test_the_newest_comes_first_and_the_oldest_goes(folder: Path) -> None:
    crashes = Crashes(folder, keep=3)
    ids = [crashes.record(replace(ENDED, pid=1000 + number), [], "tiny") for number in range(5)]
    assert [entry.id for entry in crashes.entries()] == sorted(ids, reverse=True)[:3]


def test_the_engine_is_told_by_its_file(folder: Path, tmp_path: Path) -> None:
    program = tmp_path / "llama-server"
    program.write_text("#!/bin/sh\n")
    ended = replace(ENDED, command=(str(program),), binary=str(program))
    engine = Crashes(folder).find(record(folder, ended)).engine
    assert (engine.name, engine.size) == (str(program), 10)
    assert engine.modified_at is not None


def test_the_engine_of_the_wheel_is_told_by_its_version(folder: Path) -> None:
    engine = Crashes(folder).find(record(folder, replace(ENDED, binary="xllamacpp wheel"))).engine
    assert engine.version
    assert engine.size is None


def test_a_crash_is_found_by_any_part_of_its_id(folder: Path) -> None:
    crashes = Crashes(folder)
    crashes.record(replace(ENDED, pid=77), [], "tiny")
    newest = crashes.record(replace(ENDED, pid=88), [], "tiny")
    assert crashes.find("-77-").pid == 77
    assert crashes.find("tiny").id == newest
    with pytest.raises(ValidationError, match="no crash 'nonesuch'") as raised:
        crashes.find("nonesuch")
    assert "oprel crash ls" in raised.value.resolution_steps[0]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"id": "x"}', b"\xff\xfe"], ids=repr)
def test_a_damaged_file_is_passed_over(folder: Path, content: bytes) -> None:
    crashes = Crashes(folder)
    id = record(folder)
    (folder / "20991231T000000.000Z-1-tiny.json").write_bytes(content)
    assert [entry.id for entry in crashes.entries()] == [id]
    assert crashes.find("tiny").id == id


def test_a_path_leads_nowhere(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(json.dumps({"id": "other"}))
    record(folder)
    with pytest.raises(ValidationError):
        Crashes(folder).find("../other")


def test_a_folder_that_cannot_be_written_costs_nothing_but_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "crashes").write_text("not a folder")
    record(tmp_path / "crashes")
    assert "could not be recorded" in caplog.text
    assert Crashes(tmp_path / "crashes").entries() == []
