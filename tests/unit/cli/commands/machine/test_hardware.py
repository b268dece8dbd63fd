from dataclasses import replace

import pytest

from oprel.cli.commands.machine.hardware import advice
from oprel.cli.main import main
from oprel.telemetry.hardware import probing
from oprel.telemetry.hardware.devices import CPU, GPU, Memory, MemoryLimit
from oprel.telemetry.hardware.probing import Hardware

CARD = GPU(
    vendor="nvidia",
    name="NVIDIA RTX 4090",
    total_bytes=24_000_000_000,
    free_bytes=23_000_000_000,
    architecture="8.9",
    bandwidth_bytes=10**12,
)
LIMIT = MemoryLimit(owner="the control group", setting="memory.max", limit_bytes=4 * 10**9, free_bytes=3 * 10**9)
MACHINE = Hardware(
    CPU(name="A processor", physical_cores=8, logical_cores=16, features=("avx2", "bmi2", "pni")),
    Memory(total_bytes=32_000_000_000, available_bytes=20_000_000_000),
    (CARD,),
)


def shown(machine: Hardware, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    monkeypatch.setattr(probing, "probe", lambda: machine)
    assert main(["hardware", "--home=/nonexistent"]) == 0  # without a note about a daemon that runs here
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_each_part_has_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = shown(MACHINE, capsys, monkeypatch)
    assert [line.split() for line in out.splitlines()] == [
        ["PART", "NAME", "MEMORY", "FREE", "MORE"],
        [*"CPU A processor 8 cores, 16 threads avx2".split()],
        [*"memory 32 GB 20 GB no swap".split()],
        [*"GPU 0 NVIDIA RTX 4090 24 GB 23 GB 8.9 1.0 TB/s".split()],
    ]
    assert err == ""


def test_notes_and_advice_follow(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    _, err = shown(replace(MACHINE, gpus=(), notes=("the driver says no",)), capsys, monkeypatch)
    assert err.splitlines() == [
        "the driver says no",
        "no usable GPU found: models run on the CPU",
    ]


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (replace(MACHINE, cpu=CPU(features=("pni", "avx"))), "no AVX2"),
        (replace(MACHINE, cpu=CPU(physical_cores=8, quota=1.5)), "may use 1.5 of 8 cores: engines use 1"),
        (
            replace(MACHINE, memory=Memory(total_bytes=32 * 10**9, available_bytes=8 * 10**9, limit_bytes=8 * 10**9)),
            "a limit allows 8.0 GB",
        ),
        (
            replace(MACHINE, memory=Memory.within((LIMIT,), total=32 * 10**9, available=20 * 10**9, swap=(0, 0))),
            "the control group allows 4.0 GB (memory.max)",
        ),
        (replace(MACHINE, memory=Memory(total_bytes=32 * 10**9, available_bytes=10**9)), "little memory is free"),
        (replace(MACHINE, gpus=(replace(CARD, integrated=True),)), "the two figures are the same memory"),
    ],
)
def test_what_is_in_the_way_is_said(machine: Hardware, words: str) -> None:
    (text,) = advice(machine)
    assert words in text


def test_a_mac_tells_what_its_gpu_may_use() -> None:
    metal = replace(CARD, vendor="apple", total_bytes=48_000_000_000, integrated=True)
    *_, text = advice(replace(MACHINE, gpus=(metal,)))
    assert text == "Metal allows the GPU 48 GB (`sysctl iogpu.wired_limit_mb`)"


def test_a_machine_that_is_fit_needs_no_advice() -> None:
    assert list(advice(MACHINE)) == []


def test_its_json_describes_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hardware", "--json"]) == 0
    assert Hardware.from_json(capsys.readouterr().out).memory.total_bytes > 0
