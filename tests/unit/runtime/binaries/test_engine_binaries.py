"""Which engines there are, and which of them run."""

import importlib.metadata
import os
import signal
import sys
from pathlib import Path

import pytest

from oprel.core.config import Config
from oprel.core.exceptions import ConfigError, NoEngineError
from oprel.runtime.backends.engines.llama_cpp import DISPENSABLE
from oprel.runtime.binaries import engine_binaries as shelf_module
from oprel.runtime.binaries.engine_binaries import (
    Binary,
    BinarySource,
    EngineBinaries,
    check_configured,
    find_binaries,
    unusable,
)
from oprel.telemetry.memory import process
from oprel.utils.file_cache import FileCache
from tests.fixtures import fake_engine


def script(folder: Path, body: str, mode: int = 0o755) -> Binary:
    """A program in the shell's language, configured as the engine."""
    folder.mkdir(exist_ok=True)
    program = folder / "llama-server"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(mode)
    return Binary(BinarySource.CONFIGURED, (str(program),))


def fake(folder: Path) -> Binary:
    return Binary(BinarySource.INSTALLED, (str(fake_engine.install(folder)),))


WHEEL = Binary(BinarySource.WHEEL, (sys.executable, "-P", "-m", "oprel.runtime.binaries.wheel"))


def test_engines_are_found_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configured = fake_engine.install(tmp_path / "own")
    older, newer = (fake_engine.install(tmp_path / "engines" / build) for build in ("b11434", "b11549"))
    on_path = fake_engine.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{on_path.parent}{os.pathsep}{os.environ['PATH']}")
    config = Config(engine_path=str(configured), binary_dir=str(tmp_path / "engines"))
    assert find_binaries(config) == [
        Binary(BinarySource.CONFIGURED, (str(configured),)),
        Binary(BinarySource.INSTALLED, (str(newer),)),
        Binary(BinarySource.INSTALLED, (str(older),)),
        Binary(BinarySource.PATH, (str(on_path),)),
        WHEEL,
    ]


def test_the_wheel_is_there_when_nothing_else_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binaries(Config(home=str(tmp_path))) == [WHEEL]


def test_an_installed_engine_is_looked_for_in_the_home(tmp_path: Path) -> None:
    installed = fake_engine.install(tmp_path / "binaries" / "b11549")
    assert find_binaries(Config(home=str(tmp_path)))[0] == Binary(BinarySource.INSTALLED, (str(installed),))


def test_a_configured_path_may_be_relative_or_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    found = [find_binaries(Config(engine_path=path))[0].command for path in ("./llama-server", "~/llama-server")]
    assert found == [(f"{tmp_path}/llama-server",), ("/home/me/llama-server",)]


def test_an_engine_is_shown_by_its_path_and_the_wheel_by_its_name() -> None:
    assert str(Binary(BinarySource.PATH, ("/usr/bin/llama-server",))) == "/usr/bin/llama-server"
    assert str(WHEEL) == "xllamacpp wheel"


BROKEN = {
    "SIGILL": ("kill -ILL $$", "it was built for instructions that this CPU lacks (SIGILL)"),
    "library": (
        "echo 'llama-server: error while loading shared libraries: libfoo.so' >&2; exit 127",
        "a library is missing: libfoo.so",
    ),
    "glibc": ('echo "version \\`GLIBC_2.99\' not found"; exit 1', "a library is missing: GLIBC_2.99"),
    "other": ("echo 'usage: something else'", "it is not a llama-server (`--help` exits with 0)"),
    "failing": ("echo --model; exit 3", "it is not a llama-server (`--help` exits with 3)"),
    "killed": ("kill -KILL $$", "it is not a llama-server (`--help` exits with -9)"),
}


@pytest.mark.parametrize(("body", "reason"), BROKEN.values(), ids=BROKEN)
async def test_what_does_not_run_is_set_aside_for_the_next(tmp_path: Path, body: str, reason: str) -> None:
    broken, working = script(tmp_path / "broken", body), fake(tmp_path / "working")
    shelf = EngineBinaries([broken, working])
    chosen, _ = await shelf.choose()
    assert chosen == working
    assert [(aside.binary, aside.reason) for aside in shelf.aside] == [(broken, reason)]
    assert shelf.usable == [working]


async def test_what_cannot_be_started_is_set_aside_too(tmp_path: Path) -> None:
    absent = Binary(BinarySource.CONFIGURED, (str(tmp_path / "absent"),))
    plain = script(tmp_path / "plain", "echo --model", mode=0o644)
    shelf = EngineBinaries([absent, plain, fake(tmp_path / "working")])
    await shelf.choose()
    assert [aside.reason for aside in shelf.aside] == [
        "it cannot be started: No such file or directory",
        "it cannot be started: Permission denied",
    ]


async def test_what_does_not_answer_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf_module, "PROBE_SECONDS", 0.1)
    shelf = EngineBinaries([script(tmp_path / "slow", "exec sleep 60")])
    with pytest.raises(NoEngineError, match="`--help` did not end within"):
        await shelf.choose()


async def test_without_an_engine_every_reason_is_told(tmp_path: Path) -> None:
    shelf = EngineBinaries([script(tmp_path / name, BROKEN[name][0]) for name in BROKEN])
    with pytest.raises(NoEngineError) as caught:
        await shelf.choose()
    for name, (_, reason) in BROKEN.items():
        assert f"{tmp_path}/{name}/llama-server: {reason}" in caught.value.message
    assert "pip install xllamacpp" in caught.value.resolution_steps[0]


async def test_an_empty_shelf_says_that_none_is_installed() -> None:
    with pytest.raises(NoEngineError, match=r"\(none is installed\)"):
        await EngineBinaries([]).choose()


async def test_an_engine_that_fails_later_is_not_chosen_again(tmp_path: Path) -> None:
    first, second = fake(tmp_path / "first"), fake(tmp_path / "second")
    shelf = EngineBinaries([first, second])
    assert (await shelf.choose())[0] == first
    shelf.set_aside(first, "it crashed")
    assert (await shelf.choose())[0] == second
    assert [(aside.binary, aside.reason) for aside in shelf.aside] == [(first, "it crashed")]


async def test_an_engine_is_asked_once(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    shelf = EngineBinaries([script(tmp_path / "engine", f"echo --model; echo once >> {asked}")])
    assert await shelf.choose() == await shelf.choose()
    assert asked.read_text() == "once\n"


async def test_an_engine_is_asked_without_variables_that_change_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMA_ARG_MODEL", "other.gguf")
    engine = script(tmp_path, 'test -z "$LLAMA_ARG_MODEL" && echo --model')
    assert (await EngineBinaries([engine]).choose())[0] == engine


async def test_flags_are_read_from_the_help(tmp_path: Path) -> None:
    text = "-m,    --model FNAME    model path, see top-k or a--b\n--mmap, --no-mmap   (env: LLAMA_ARG_MMAP)"
    _, flags = await EngineBinaries([script(tmp_path, f"echo '{text}'")]).choose()
    assert flags == {"-m", "--model", "--mmap", "--no-mmap"}


FOR_GPUS = {"--split-mode", "--tensor-split", "--n-cpu-moe"}  # the wheel has none


async def test_the_wheels_flags_are_known_without_starting_it() -> None:
    _, flags = await EngineBinaries([Binary(BinarySource.WHEEL, ("/nonexistent",))]).choose()
    assert flags >= {"-m", "--model", "--no-mmap", "--kv-unified", *DISPENSABLE} - FOR_GPUS


@pytest.mark.parametrize("status", [0, 1, -signal.SIGSEGV, -signal.SIGKILL])
def test_other_ends_say_nothing_about_the_machine(status: int) -> None:
    assert unusable(status, "error: invalid argument") is None


@pytest.mark.parametrize("name", ["nothing", "folder", "text"])
def test_an_engine_that_the_user_names_must_be_a_program(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").touch(0o600)
    with pytest.raises(ConfigError, match="which is not executable"):
        check_configured(Config(engine_path=str(tmp_path / name)))


def test_no_engine_needs_to_be_named() -> None:
    check_configured(Config())


def test_an_update_of_a_program_is_another_build(tmp_path: Path) -> None:
    program = tmp_path / "llama-server"
    program.write_text("one")
    binary = Binary(BinarySource.CONFIGURED, (str(program),))
    before = binary.build
    assert str(program) in before and binary.build == before
    program.write_text("the next")
    assert binary.build != before
    program.unlink()
    assert binary.build == str(program)


def test_the_wheel_has_a_version() -> None:
    assert WHEEL.build == f"xllamacpp wheel {importlib.metadata.version('xllamacpp')}"


def test_each_kind_of_program_has_figures_of_its_own() -> None:
    assert WHEEL.program is process.WHEEL
    assert Binary(BinarySource.PATH, ("llama-server",)).program is process.NATIVE


DEVICES = r"Available devices:\n  CUDA0: NVIDIA GeForce RTX 4090 (24081 MiB, 23626 MiB free)\n"


def lister(folder: Path, devices: str) -> Binary:
    """An engine that lists these devices, each time with a line in `asked`."""
    body = f'if [ "$1" = --help ]; then echo --model --list-devices; else echo >> {folder}/asked; {devices}; fi'
    return script(folder, body)


@pytest.mark.parametrize(
    ("devices", "uses_gpus"),
    [
        (f"printf '{DEVICES}'", True),
        (r"printf 'Available devices:\n  (none)\n'", False),
        ("exit 1", True),  # nothing is known
    ],
    ids=["a GPU", "none", "failing"],
)
async def test_an_engine_is_asked_once_which_devices_it_finds(tmp_path: Path, devices: str, uses_gpus: bool) -> None:
    binaries = EngineBinaries([lister(tmp_path / "engine", devices)])
    await binaries.look_for_devices()
    await binaries.look_for_devices()
    assert binaries.uses_gpus == uses_gpus
    assert (tmp_path / "engine" / "asked").read_text() == "\n"


async def test_the_wheel_uses_only_the_cpu() -> None:
    binaries = EngineBinaries([WHEEL])
    assert not binaries.uses_gpus  # before it was asked
    await binaries.look_for_devices()
    assert not binaries.uses_gpus


async def test_an_engine_that_cannot_list_devices_may_use_them(tmp_path: Path) -> None:
    binaries = EngineBinaries([fake(tmp_path)])
    await binaries.look_for_devices()
    assert binaries.uses_gpus


async def test_without_an_engine_nothing_is_missed() -> None:
    binaries = EngineBinaries([])
    await binaries.look_for_devices()
    assert binaries.uses_gpus


def test_engines_that_are_installed_meanwhile_are_used(tmp_path: Path) -> None:
    config = Config(home=str(tmp_path))
    binaries = EngineBinaries.of(config)
    first = binaries.usable[0]
    installed = Binary(BinarySource.INSTALLED, (str(fake_engine.install(config.engines_dir / "b1")),))
    assert binaries.usable[0] == first
    binaries.look_again()
    assert binaries.usable[0] == installed


async def test_a_program_that_is_replaced_is_asked_again(tmp_path: Path) -> None:
    binaries = EngineBinaries([script(tmp_path, "echo --model --mmap")])
    assert "--mmap" in (await binaries.choose())[1]
    script(tmp_path, "echo --model")
    assert (await binaries.choose())[1] == {"--model"}


async def test_a_program_is_asked_again_for_flags_that_it_did_not_take(tmp_path: Path) -> None:
    listed = tmp_path / "listed"  # as in a library beside the program
    listed.write_text("--model --mmap")
    binary = script(tmp_path, f"cat {listed}")
    binaries = EngineBinaries([binary])
    await binaries.choose()
    listed.write_text("--model")
    binaries.forget_flags(binary)
    assert (await binaries.choose())[1] == {"--model"}


async def test_what_was_set_aside_returns_when_its_file_changes(tmp_path: Path) -> None:
    broken, other = script(tmp_path / "broken", "exit 1"), fake(tmp_path / "working")
    binaries = EngineBinaries([broken, other])
    assert (await binaries.choose())[0] == other
    script(tmp_path / "broken", "echo --model")
    assert binaries.usable == [broken, other]
    assert binaries.aside == []
    assert (await binaries.choose())[0] == broken


async def test_what_was_set_aside_is_tried_again_after_ever_longer_pauses(tmp_path: Path) -> None:
    now = 0.0
    flag = tmp_path / "flag"
    broken, other = script(tmp_path / "broken", f"test -e {flag} && echo --model"), fake(tmp_path / "working")
    binaries = EngineBinaries([broken, other], clock=lambda: now)
    await binaries.choose()
    pauses = []
    for _ in range(14):
        while broken not in binaries.usable:
            now += shelf_module.FIRST_PAUSE / 2
        pauses.append(now)
        assert [aside.binary for aside in binaries.aside] == [broken]  # still told, until it runs
        assert (await binaries.choose())[0] == other
    lengths = [after - before for before, after in zip([0.0, *pauses], pauses, strict=False)]
    assert lengths == [min(2.0 * 2**number, shelf_module.LONGEST_PAUSE) for number in range(14)]
    flag.touch()
    now += shelf_module.LONGEST_PAUSE
    assert (await binaries.choose())[0] == broken
    binaries.note_start(broken)
    assert binaries.aside == []
    binaries.set_aside(broken, "again")
    now += shelf_module.FIRST_PAUSE
    assert broken in binaries.usable


async def test_what_was_just_tried_is_not_chosen_again(tmp_path: Path) -> None:
    first, second = fake(tmp_path / "first"), fake(tmp_path / "second")
    binaries = EngineBinaries([first, second])
    assert (await binaries.choose({first}))[0] == second
    with pytest.raises(NoEngineError):
        await binaries.choose({first, second})


async def test_without_a_usable_program_they_are_looked_for_again(tmp_path: Path) -> None:
    config = Config(home=str(tmp_path))
    binaries = EngineBinaries([], find=lambda: find_binaries(config))
    installed = Binary(BinarySource.INSTALLED, (str(fake_engine.install(config.engines_dir / "b1")),))
    assert (await binaries.choose())[0] == installed


def test_the_wheel_has_no_version_while_it_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(shelf_module, "_versions", FileCache())
    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert WHEEL.build == "xllamacpp wheel "
