"""Each check of `oprel doctor`, on a machine that is as it should be and on one that is not."""

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from oprel import __version__
from oprel.cli import checkup
from oprel.core.config import Config
from oprel.runtime.binaries.engine_binaries import EngineBinaries, find_binaries
from oprel.telemetry.hardware.probing import Hardware, probe
from oprel.wire.daemon import AsideEngine, HealthResponse
from tests.conftest import RunningDaemon

MACHINES = Path(__file__).parents[2] / "data" / "machines"
HEALTH = HealthResponse(status="ok", version=__version__, pid=1, uptime_seconds=9.0, engines=[], engines_set_aside=[])


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def program(folder: Path, name: str, *lines: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("\n".join(["#!/bin/sh", *lines]))
    path.chmod(0o755)
    return path


def levels(findings: Iterator[checkup.CheckupFinding]) -> list[str]:
    return [finding.level for finding in findings]


def test_everything_is_looked_at(config: Config) -> None:
    subjects = [finding.subject for finding in checkup.examined(config)]
    known = ["daemon", "engine", "hardware", "GPU", "home", "run folder", "state.db", "disk", "port", "crashes"]
    assert list(dict.fromkeys(subjects))[:10] == known
    assert not config.run_dir.exists()  # no daemon was started


# The daemon


def test_no_daemon_is_no_fault(config: Config) -> None:
    health, finding = checkup.check_daemon(config)
    assert (health, finding.level) == (None, "ok")
    assert "none is running" in finding.text


def test_a_daemon_is_told_by_its_process(shared_daemon: RunningDaemon) -> None:
    health, finding = checkup.check_daemon(shared_daemon.config)
    assert health and health.pid == shared_daemon.process.pid
    assert (finding.level, f"pid {health.pid}" in finding.text) == ("ok", True)


def test_a_daemon_of_another_version_is_warned_of(
    shared_daemon: RunningDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkup, "__version__", "99.0")
    _, finding = checkup.check_daemon(shared_daemon.config)
    assert (finding.level, "oprel restart" in finding.advice[0]) == ("warning", True)


def test_the_settings_of_the_daemon_that_runs_are_checked(start_daemon: Callable[..., RunningDaemon]) -> None:
    """Not those of this shell: another port, and an engine that is not there."""
    config = start_daemon().config.replace(server_port=1, engine_path="/nowhere/llama-server")
    findings = {finding.subject: finding for finding in checkup.examined(config, ["port 1 is set here"])}
    assert (findings["settings"].level, findings["settings"].text) == ("warning", "port 1 is set here")
    assert findings["port"].text == "any free port is used"
    assert (findings["engine"].level, "nowhere" in findings["engine"].text) == ("ok", False)


def test_of_a_daemon_elsewhere_its_own_engines_are_reported(shared_daemon: RunningDaemon, config: Config) -> None:
    distant = config.replace(host=f"unix:{shared_daemon.config.socket_path}")
    findings = {finding.subject: finding for finding in checkup.examined(distant)}
    assert findings.keys() == {"daemon", "engine", "hardware"}
    assert findings["engine"].text.startswith("the daemon has ")


def test_a_daemon_that_does_not_answer_is_a_fault(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "SECONDS", 0.1)
    config.run_dir.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(config.socket_path))
        silent.listen()
        health, finding = checkup.check_daemon(config)
    assert (health, finding.level) == (None, "error")


def test_an_address_where_nobody_answers_is_a_fault(config: Config, taken_port: int) -> None:
    _, finding = checkup.check_daemon(config.replace(host="unix:/nowhere/oprel.sock"))
    assert finding.level == "error"


# Engines


def test_the_engine_is_really_started() -> None:
    (finding,) = checkup.check_engines(EngineBinaries(find_binaries(Config())), None)
    assert finding.level == "ok"
    assert "version: xllamacpp" in finding.text


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["exit 3"], "it is not a llama-server (`--help` exits with 3)"),
        (['[ "$1" = --help ] && echo --model && exit 0', "exit 4"], "`--version` exits with 4"),
        (['[ "$1" = --help ] && echo --model && exit 0', "kill -ILL $$"], "instructions that this CPU lacks"),
    ],
)
def test_an_engine_that_cannot_be_used_is_named_beside_the_one_that_is(
    tmp_path: Path, lines: list[str], reason: str
) -> None:
    bad = program(tmp_path, "llama-server", *lines)
    found, aside = checkup.check_engines(EngineBinaries(find_binaries(Config(engine_path=str(bad)))), None)
    assert (found.level, aside.level) == ("ok", "warning")
    assert f"{bad} is not used: " in aside.text
    assert reason in aside.text


def test_no_engine_at_all_is_a_fault() -> None:
    (finding,) = checkup.check_engines(EngineBinaries([]), None)
    assert finding.level == "error"
    assert "pip install xllamacpp" in finding.advice[0]


def test_what_the_daemon_set_aside_is_told_too() -> None:
    aside = AsideEngine(engine="/opt/llama-server", reason="it was built for another CPU")
    health = HEALTH.model_copy(update={"engines_set_aside": [aside]})
    *_, finding = checkup.check_engines(EngineBinaries([]), health)
    assert finding.text == "/opt/llama-server is not used: it was built for another CPU"


# The machine


def test_the_hardware_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "CPUs" in checkup.check_hardware(probe()).text
    monkeypatch.setattr(checkup, "LITTLE_MEMORY", 10**18)
    assert checkup.check_hardware(probe()).level == "warning"


def graphics(machine: str, *, uses_gpus: bool, notes: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    described = replace(Hardware.load(MACHINES / f"{machine}.json"), notes=notes)
    return [(finding.level, finding.text) for finding in checkup.check_graphics(described, uses_gpus=uses_gpus)]


def test_a_gpu_is_told_with_its_memory() -> None:
    assert graphics("nvidia-24gb", uses_gpus=True) == [("ok", "NVIDIA GeForce RTX 4090, 25 GB of 26 GB free")]


@pytest.mark.parametrize(
    ("machine", "gpu"),
    [
        ("nvidia-24gb", "RTX 4090"),
        ("nvidia-2x24gb", "RTX 3090 and 1 more"),
        ("amd-integrated-16gb", "Radeon 780M GPU"),
        ("apple-16gb", "Apple M2 GPU"),
    ],
)
def test_a_gpu_that_the_engine_does_not_use_is_a_warning(machine: str, gpu: str) -> None:
    line = f"{gpu} found, but this engine uses only the CPU: `oprel engines install llama.cpp`"
    assert ("warning", line) in graphics(machine, uses_gpus=False)


def test_a_machine_without_a_gpu_is_well() -> None:
    assert graphics("cpu-16gb", uses_gpus=False) == [("ok", "no usable GPU found: models run on the CPU")]


def test_a_driver_that_fails_is_a_warning() -> None:
    note = "NVIDIA GPUs are not used: the driver reports: no such device"
    assert ("warning", note) in graphics("cpu-16gb", uses_gpus=False, notes=(note,))


# Folders and the disk


def test_a_folder_must_be_this_users_alone(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    assert checkup.check_folder("home", folder).text.endswith("will be created")
    folder.mkdir(mode=0o700)
    assert checkup.check_folder("home", folder).level == "ok"
    folder.chmod(0o755)
    finding = checkup.check_folder("home", folder)
    assert (finding.level, finding.advice) == ("warning", [f"chmod 700 {folder}"])


def test_what_is_no_folder_or_another_users_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.touch()
    assert checkup.check_folder("home", file).level == "error"
    assert checkup.check_folder("home", file / "below").level == "error"
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert checkup.check_folder("home", tmp_path).level == "error"


def test_a_disk_that_is_nearly_full_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = checkup.check_disk(tmp_path / "not" / "yet")
    assert there.text.endswith(str(tmp_path))
    monkeypatch.setattr(checkup, "LITTLE_DISK", 10**18)
    assert checkup.check_disk(tmp_path).level == "warning"


# The port


def test_a_free_port_is_well(config: Config, taken_port: int) -> None:
    assert checkup.check_port(config, None).level == "ok"  # any
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]
    assert checkup.check_port(config.replace(server_port=free), None).text == f"127.0.0.1:{free} is free"


def test_the_daemons_own_port_is_well(shared_daemon: RunningDaemon) -> None:
    port = int(shared_daemon.url.rsplit(":", 1)[1])
    config = shared_daemon.config.replace(server_port=port)
    health, _ = checkup.check_daemon(config)
    assert checkup.check_port(config, health).text == f"the daemon listens on 127.0.0.1:{port}"
    other = checkup.check_port(config, None)
    assert (other.level, "another oprel daemon" in other.text) == ("error", True)


@pytest.mark.parametrize(("health", "level"), [(None, "error"), (HEALTH, "warning")])
def test_a_port_that_somebody_else_has_is_named_with_him(
    config: Config, taken_port: int, monkeypatch: pytest.MonkeyPatch, health: HealthResponse | None, level: str
) -> None:
    monkeypatch.setattr(checkup, "SECONDS", 0.1)
    finding = checkup.check_port(config.replace(server_port=taken_port), health)
    assert (finding.level, f"pid {os.getpid()}" in finding.text) == (level, True)
    assert "--server-port" in finding.advice[0]


# What happened


@pytest.mark.parametrize(("hours", "level"), [(1, "warning"), (30, "ok")])
def test_only_the_crashes_of_a_day_are_told(tmp_path: Path, hours: int, level: str) -> None:
    moment = datetime.now(UTC) - timedelta(hours=hours)
    (tmp_path / f"{moment:%Y%m%dT%H%M%S}.000Z-1-tiny.json").touch()
    assert checkup.check_crashes(tmp_path).level == level
    assert checkup.check_crashes(tmp_path / "none").level == "ok"


def test_memory_on_the_disk_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "MUCH_SWAP", -1.0)
    assert "swapped" in list(checkup.check_system())[-1].text
