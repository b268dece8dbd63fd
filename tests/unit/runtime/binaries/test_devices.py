"""Asking a program for its devices: real processes, some of which do not behave."""

import os
import sys
import textwrap
from pathlib import Path

import pytest

from oprel.runtime.binaries import devices
from oprel.runtime.binaries.devices import EMPTY_SECONDS, DeviceLists, list_devices
from oprel.runtime.binaries.engine_binaries import Binary, BinarySource, EngineBinaries

LIST = "Available devices:\n  Vulkan0: a card (2048 MiB, 1024 MiB free)\n"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return tmp_path / "llama-server"


def write(program: Path, body: str) -> list[str]:
    """A program that counts its starts in the file beside it."""
    start = f"#!{sys.executable}\nimport os, sys, time\nprint(file=open({str(program)!r} + '.starts', 'a'))\n"
    program.write_text(start + textwrap.dedent(body))
    program.chmod(0o755)
    return [str(program)]


def starts(program: Path) -> int:
    return len(program.with_name(program.name + ".starts").read_text())


def test_the_program_is_asked_with_its_flag(program: Path) -> None:
    command = write(program, f"assert sys.argv[1:] == ['--list-devices']; print({LIST!r})")
    listed = list_devices(command, os.environ)
    assert listed and listed[0].free_bytes == 1024**3


def test_variables_that_choose_devices_reach_it(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GGML_VK_VISIBLE_DEVICES", "")
    body = f"print({LIST!r} if os.environ['GGML_VK_VISIBLE_DEVICES'] else 'Available devices:\\n  (none)')"
    assert list_devices(write(program, body), os.environ) == ()


@pytest.mark.parametrize(
    "body",
    [
        "sys.exit(1)",
        "os.kill(os.getpid(), 4)",
        "os.close(1); os.close(2)",
        "while True: os.write(1, b'  Vulkan0: a card (1 MiB, 1 MiB free)\\n' * 100)",
        "print('error: invalid argument: --list-devices'); sys.exit(1)",
    ],
)
def test_what_fails_or_prints_without_end_lists_nothing(program: Path, body: str) -> None:
    assert list_devices(write(program, body), os.environ) is None


def test_a_program_that_is_missing_lists_nothing(program: Path) -> None:
    assert list_devices([str(program)], os.environ) is None


def test_a_program_that_hangs_is_ended_with_its_children(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "SECONDS", 0.5)
    body = "child = os.fork()\nif child: open(sys.argv[0] + '.child', 'w').write(str(child))\ntime.sleep(1000)"
    assert list_devices(write(program, body), os.environ) is None
    child = program.with_name(program.name + ".child")
    assert not (child.exists() and is_running(int(child.read_text())))  # a busy machine may not have come that far


def test_a_child_that_keeps_the_output_open_holds_up_nothing(program: Path) -> None:
    body = f"print({LIST!r}, flush=True)\nif not os.fork(): time.sleep(1000)"
    assert list_devices(write(program, body), os.environ)


def is_running(pid: int) -> bool:
    """Whether it has not ended; one that ended may wait for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_program_without_devices_is_asked_once(program: Path) -> None:
    lists, command = DeviceLists(), write(program, "print('Available devices:\\n  (none)')")
    assert [await lists.of(command, "build", os.environ) for _ in range(3)] == [(), (), ()] and starts(program) == 1


async def test_devices_whose_driver_is_loaded_later_are_found(program: Path) -> None:
    now = 0.0
    lists, command = DeviceLists(lambda: now), write(program, "print('Available devices:\\n  (none)')")
    assert await lists.of(command, "build", os.environ) == ()
    write(program, f"print({LIST!r})")
    assert await lists.of(command, "build", os.environ) == ()
    now = EMPTY_SECONDS
    assert await lists.of(command, "build", os.environ)


async def test_what_is_free_is_looked_up_again(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "FRESH_SECONDS", 0.0)
    lists, command = DeviceLists(), write(program, f"print({LIST!r})")
    assert await lists.of(command, "build", os.environ) == await lists.of(command, "build", os.environ)
    assert starts(program) == 2


async def test_another_build_or_environment_has_its_own_list(program: Path) -> None:
    lists, command = DeviceLists(), write(program, "print('Available devices:\\n  (none)')")
    await lists.of(command, "old", os.environ)
    await lists.of(command, "new", os.environ)
    await lists.of(command, "new", os.environ | {"CUDA_VISIBLE_DEVICES": "1"})
    assert starts(program) == 3


async def test_only_a_program_that_knows_the_flag_is_asked(program: Path) -> None:
    flags = "  --model FILE\n  --list-devices\n"
    body = f"print({flags!r} if '--help' in sys.argv else {LIST!r})"
    write(program, body)
    new = EngineBinaries([Binary(BinarySource.CONFIGURED, (str(program),))])
    assert await new.devices()
    old = program.with_name("old")
    write(old, "assert '--help' in sys.argv; print('  --model FILE')")
    assert await EngineBinaries([Binary(BinarySource.CONFIGURED, (str(old),))]).devices() is None and starts(old) == 1
