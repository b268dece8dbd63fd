"""How much memory was enough, in a file that the next daemon reads."""

import os
from pathlib import Path

import pytest

from oprel.runtime.binaries.engine_binaries import Binary, BinarySource
from oprel.server.history import oom_history
from oprel.server.history.oom_history import LASTS, Enough, OomHistory

TINY, OTHER = ("tiny.gguf", "completion"), ("other.gguf", "completion")
WHEEL = Binary(BinarySource.WHEEL, ("python", "-m", "wheel"))


def size_of(enough: Enough | None) -> int | None:
    return enough.bytes if enough else None


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "memory.json"


@pytest.fixture
def history(file: Path) -> OomHistory:
    return OomHistory(file)


def test_what_was_never_short_of_memory_has_no_history(history: OomHistory) -> None:
    assert history.enough(TINY, WHEEL) is None


def test_what_was_enough_is_remembered(history: OomHistory) -> None:
    history.remember(TINY, WHEEL, 1000)
    assert size_of(history.enough(TINY, WHEEL)) == 1000


def test_the_last_experience_counts(history: OomHistory) -> None:
    history.remember(TINY, WHEEL, 1000)
    history.remember(TINY, WHEEL, 700)
    assert size_of(history.enough(TINY, WHEEL)) == 700


def test_the_next_daemon_knows_it(history: OomHistory, file: Path) -> None:
    history.remember(TINY, WHEEL, 1000)
    assert size_of(OomHistory(file).enough(TINY, WHEEL)) == 1000


def test_other_options_have_their_own_history(history: OomHistory) -> None:
    history.remember(TINY, WHEEL, 1000)
    assert history.enough(OTHER, WHEEL) is None


def test_another_program_has_its_own_history(history: OomHistory, tmp_path: Path) -> None:
    history.remember(TINY, WHEEL, 1000)
    assert history.enough(TINY, Binary(BinarySource.PATH, (str(tmp_path / "llama-server"),))) is None
    assert history.enough(TINY, None) is None


def test_a_program_that_was_replaced_has_a_new_history(history: OomHistory, tmp_path: Path) -> None:
    program = tmp_path / "llama-server"
    program.touch()
    binary = Binary(BinarySource.PATH, (str(program),))
    history.remember(TINY, binary, 1000)
    assert size_of(history.enough(TINY, binary)) == 1000
    os.utime(program, (1, 1))
    assert history.enough(TINY, binary) is None


def test_another_machine_has_its_own_history(history: OomHistory, monkeypatch: pytest.MonkeyPatch) -> None:
    history.remember(TINY, WHEEL, 1000)
    monkeypatch.setattr(oom_history, "memory_bytes", lambda: 1)
    assert history.enough(TINY, WHEEL) is None


def test_the_oldest_is_forgotten_first(history: OomHistory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oom_history, "MOST", 3)
    history.remember(TINY, WHEEL, 1)
    history.remember(OTHER, WHEEL, 2)
    history.remember(TINY, WHEEL, 3)  # now the newest
    for number in range(2):
        history.remember((number,), WHEEL, number)
    assert history.enough(OTHER, WHEEL) is None and size_of(history.enough(TINY, WHEEL)) == 3


OLDER = b'{"a": 1000}'  # of a version that remembered for ever


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"a": "x"}', b'{"a": null}', OLDER, b"\xff"], ids=repr
)
def test_a_damaged_file_is_replaced(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    history = OomHistory(file)
    assert history.enough(TINY, WHEEL) is None
    history.remember(TINY, WHEEL, 1000)
    assert size_of(OomHistory(file).enough(TINY, WHEEL)) == 1000


def test_a_file_that_cannot_be_written_costs_nothing_but_the_memory_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    history = OomHistory(tmp_path / "absent" / "memory.json")
    history.remember(TINY, WHEEL, 1000)
    assert size_of(history.enough(TINY, WHEEL)) == 1000
    assert "cannot write" in caplog.text


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_what_others_took_is_not_remembered_for_ever(file: Path) -> None:
    clock = Clock()
    history = OomHistory(file, clock)
    history.remember(TINY, WHEEL, 1000)
    clock.now += LASTS - 1
    assert size_of(history.enough(TINY, WHEEL)) == 1000
    clock.now += 2
    assert history.enough(TINY, WHEEL) is None and OomHistory(file, clock).enough(TINY, WHEEL) is None


def test_a_gpu_that_was_full_once_may_be_empty_again(history: OomHistory) -> None:
    history.remember(TINY, WHEEL, 1000, on_gpus=True)
    assert history.enough(TINY, WHEEL) is None
    history.remember(TINY, WHEEL, 1000, on_gpus=True)
    enough = history.enough(TINY, WHEEL)
    assert enough and enough.on_gpus


def test_only_loads_in_a_row_count(history: OomHistory) -> None:
    history.remember(TINY, WHEEL, 1000, on_gpus=True)
    history.forget_chance(TINY, WHEEL)
    history.remember(TINY, WHEEL, 1000, on_gpus=True)
    assert history.enough(TINY, WHEEL) is None


def test_a_start_with_less_confirms_what_is_certain(history: OomHistory) -> None:
    history.remember(TINY, WHEEL, 1000)
    history.forget_chance(TINY, WHEEL)
    assert size_of(history.enough(TINY, WHEEL)) == 1000
