"""What is installed, what is used, and the way back: at each moment one or the other."""

from pathlib import Path

import pytest

from oprel.core.config import Config
from oprel.runtime.binaries.engine_binaries import BinarySource, find_binaries
from oprel.runtime.binaries.llama_cpp.installed import InstalledEngine, InstalledEngines


@pytest.fixture
def engines(tmp_path: Path) -> InstalledEngines:
    return InstalledEngines(tmp_path)


def put(engines: InstalledEngines, build: int) -> InstalledEngine:
    with engines.unfinished() as folder:
        (folder / "llama-server").write_text("#!/bin/sh\n")
        engine = InstalledEngine(
            id=f"b{build}-cuda", title=f"x {build}", build=build, api="cuda", program="llama-server", sha256="0" * 64
        )
        return engines.keep(folder, engine)


def folders(engines: InstalledEngines) -> set[str]:
    return {path.name for path in engines.folder.iterdir() if path.is_dir()}


def test_none_is_installed_at_first(engines: InstalledEngines) -> None:
    assert (engines.active, engines.previous, engines.can_roll_back) == (None, None, False)


def test_one_that_is_not_activated_is_not_used(engines: InstalledEngines) -> None:
    put(engines, 1)
    assert engines.active is None and not engines.can_roll_back


def test_the_way_back_and_forth(engines: InstalledEngines) -> None:
    first = put(engines, 1)
    engines.activate(first)
    assert engines.active == first and engines.can_roll_back  # to the engine that oprel comes with
    second = put(engines, 2)
    engines.activate(second)
    assert (engines.active, engines.previous) == (second, first)
    assert engines.roll_back() == first
    assert (engines.active, engines.previous) == (first, second)
    assert engines.roll_back() == second


def test_the_way_back_to_the_engine_that_comes_with_oprel(engines: InstalledEngines) -> None:
    first = put(engines, 1)
    engines.activate(first)
    assert engines.roll_back() is None and engines.active is None
    assert engines.roll_back() == first


def test_two_stay_and_no_more(engines: InstalledEngines) -> None:
    for build in (1, 2, 3):
        engines.activate(put(engines, build))
    assert folders(engines) == {"b2-cuda", "b3-cuda"}


def test_activating_again_does_not_forget_the_one_before(engines: InstalledEngines) -> None:
    first = put(engines, 1)
    engines.activate(first)
    second, again = put(engines, 2), put(engines, 2)
    engines.activate(again)
    engines.activate(again)
    assert (engines.active, engines.previous) == (again, first)
    assert again.id == f"{second.id}-2"  # beside the other, which no activation kept
    assert folders(engines) == {first.id, again.id}


def test_an_interrupted_attempt_leaves_nothing_that_is_used(engines: InstalledEngines) -> None:
    with pytest.raises(KeyboardInterrupt), engines.unfinished() as folder:
        (folder / "llama-server").touch()
        raise KeyboardInterrupt
    killed = engines.folder / ".new-of-one-that-was-killed"
    killed.mkdir()
    with engines.unfinished():
        assert not killed.exists()
    assert folders(engines) == set()


@pytest.mark.parametrize("state", ["", "{", "[]", '{"active": "b1-cuda", "more": 1}', '{"active": "../b1-cuda"}'])
def test_a_damaged_state_is_none(engines: InstalledEngines, state: str) -> None:
    engines.activate(put(engines, 1))
    (engines.folder / "state.json").write_text(state)
    assert engines.active is None and not engines.can_roll_back


@pytest.mark.parametrize("missing", ["engine.json", "llama-server"])
def test_an_engine_whose_files_are_gone_is_none(engines: InstalledEngines, missing: str) -> None:
    engine = put(engines, 1)
    engines.activate(engine)
    (engines.folder / engine.id / missing).unlink()
    assert engines.active is None


def test_the_same_file_is_known_again(engines: InstalledEngines) -> None:
    engine = put(engines, 1)
    assert engines.same("x 1", "cuda", "0" * 64) == engine
    assert engines.same("x 1", "vulkan", "0" * 64) is None
    engines.discard(engine)
    assert engines.same("x 1", "cuda", "0" * 64) is None


def test_the_active_one_comes_before_others(tmp_path: Path) -> None:
    config = Config(home=str(tmp_path))
    engines = InstalledEngines(config.engines_dir)
    engine = put(engines, 1)
    other = config.engines_dir / "b99999" / "llama-server"
    other.parent.mkdir()
    other.touch()
    assert find_binaries(config)[0].command == (str(other),)
    engines.activate(engine)
    first, second, *_ = find_binaries(config)
    assert (first.source, first.command) == (BinarySource.INSTALLED, (str(engines.program_of(engine)),))
    assert second.command == (str(other),)
    engines.remove_all()
    assert find_binaries(config)[0].command == (str(other),)
