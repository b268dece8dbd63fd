"""The files of services, read by the programs that they are for where those run here."""

import os
import plistlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from oprel.cli.services.service_files import STATE_FOLDER, ServiceFacts, ServiceKind, service_file, systemd_socket
from tests.fixtures.debian_packages import unpacked

STRANGE = "/srv/a b\"c'd%e$f\\g"
FACTS = ServiceFacts(
    command=[sys.executable, "-P", "-m", "oprel", "serve", f"--home={STRANGE}"],
    environment={"OPREL_MODELS": '{"tiny": {"pin": "on"}}', "OPREL_ENGINE_ARGS": "--a 50%"},
    writable=[STATE_FOLDER, Path("/srv/a b")],
    user="root",
    groups=["root"],
)
SYSTEMD = [ServiceKind.SYSTEMD_USER, ServiceKind.SYSTEMD_SYSTEM]


def settings(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def analyze(unit: Path, kind: ServiceKind) -> "subprocess.CompletedProcess[str]":
    """What `systemd-analyze verify` says; Debian's package is unpacked for it where systemd is not installed."""
    scope = ["--user"] if kind is ServiceKind.SYSTEMD_USER else []
    program, environment = shutil.which("systemd-analyze"), {**os.environ, "XDG_RUNTIME_DIR": str(unit.parent)}
    if program is None:
        root = unpacked("systemd")
        program = str(root / "usr" / "bin" / "systemd-analyze")
        libraries = [str(path.parent) for path in root.rglob("libsystemd-shared-*.so")]
        units = [str(path.parent) for path in root.rglob("sysinit.target")] + [
            str(path.parent) for path in root.rglob("user/default.target")
        ]
        environment |= {"LD_LIBRARY_PATH": ":".join(libraries), "SYSTEMD_UNIT_PATH": ":".join(units)}
    return subprocess.run(
        [program, *scope, "verify", "--man=no", str(unit)], capture_output=True, text=True, env=environment, check=False
    )


@pytest.mark.parametrize("kind", SYSTEMD)
@pytest.mark.parametrize("needs_setuid", [False, True])
def test_systemd_has_nothing_to_say_against_its_units(tmp_path: Path, kind: ServiceKind, needs_setuid: bool) -> None:
    unit = tmp_path / "oprel.service"
    unit.write_text(service_file(replace(FACTS, needs_setuid=needs_setuid), kind))
    done = analyze(unit, kind)
    about_it = [line for line in f"{done.stdout}{done.stderr}".splitlines() if unit.name in line]
    assert (done.returncode, about_it) == (0, []), done.stderr


@pytest.mark.parametrize("kind", SYSTEMD)
def test_systemd_has_nothing_to_say_against_the_unit_of_its_sockets(tmp_path: Path, kind: ServiceKind) -> None:
    facts = replace(FACTS, sockets=("/home/me/50%/oprel.sock", "127.0.0.1:11435", "[::1]:11435"))
    (tmp_path / "oprel.service").write_text(service_file(facts, kind))
    unit = tmp_path / "oprel.socket"
    unit.write_text(systemd_socket(facts))
    done = analyze(unit, kind)
    about_it = [line for line in f"{done.stdout}{done.stderr}".splitlines() if unit.name in line]
    assert (done.returncode, about_it) == (0, []), done.stderr
    listening = settings(unit.read_text())["ListenStream"]
    assert listening == ["/home/me/50%%/oprel.sock", "127.0.0.1:11435", "[::1]:11435"]


def test_the_check_of_units_finds_faults(tmp_path: Path) -> None:
    unit = tmp_path / "oprel.service"
    unit.write_text(service_file(FACTS, ServiceKind.SYSTEMD_SYSTEM).replace("Type=notify", "Type=nothing"))
    assert "service type" in analyze(unit, ServiceKind.SYSTEMD_SYSTEM).stderr


@pytest.mark.parametrize("kind", SYSTEMD)
def test_the_daemon_says_when_it_is_ready_and_alive_and_ends_its_engines_itself(kind: ServiceKind) -> None:
    unit = settings(service_file(FACTS, kind))
    expected = {"Type": "notify", "WatchdogSec": "60", "KillMode": "mixed", "OOMPolicy": "continue"}
    assert {name: unit[name] for name in expected} == {name: [value] for name, value in expected.items()}
    assert unit["ExecReload"] == ["/bin/kill -HUP $MAINPID"]


@pytest.mark.parametrize("kind", SYSTEMD)
def test_hardening_leaves_gpus_and_folders_of_models_alone(kind: ServiceKind) -> None:
    unit = settings(service_file(FACTS, kind))
    closed = {"PrivateDevices", "DevicePolicy", "DeviceAllow", "ProtectClock", "MemoryDenyWriteExecute", "ProtectProc"}
    assert not closed & unit.keys()
    assert unit["NoNewPrivileges"] == ["yes"]
    if kind is ServiceKind.SYSTEMD_SYSTEM:
        assert (unit["ProtectSystem"], unit["ProtectHome"]) == (["strict"], ["read-only"])
        assert (unit["StateDirectory"], unit["ReadWritePaths"]) == (["oprel"], ['"-/srv/a b"'])
        assert unit["SupplementaryGroups"] == ["root"]


def test_a_gpus_device_files_can_still_be_made() -> None:
    facts = replace(FACTS, needs_setuid=True)
    own, machines = (settings(service_file(facts, kind)) for kind in SYSTEMD)
    assert not {"NoNewPrivileges", "RestrictRealtime", "SystemCallFilter"} & own.keys()
    assert machines["ExecStartPre"] == ["+-/usr/bin/nvidia-modprobe -c0 -u"]


def test_sockets_in_the_folder_of_temporary_files_stay_reachable() -> None:
    for shares, private in ((True, "no"), (False, "yes")):
        unit = settings(service_file(replace(FACTS, shares_tmp=shares), ServiceKind.SYSTEMD_SYSTEM))
        assert unit["PrivateTmp"] == [private]


def test_launchd_gets_the_same_command() -> None:
    content = plistlib.loads(service_file(FACTS, ServiceKind.LAUNCHD).encode())
    assert content["ProgramArguments"] == FACTS.command
    assert content["EnvironmentVariables"] == FACTS.environment
    assert (content["KeepAlive"], content["UserName"]) == ({"SuccessfulExit": False}, "root")


def test_windows_runs_it_in_wsl() -> None:
    service = ElementTree.fromstring(service_file(FACTS, ServiceKind.WINDOWS))
    words = service.findtext("arguments") or ""
    assert (service.findtext("executable") or "").endswith("wsl.exe")
    assert words.startswith("--exec env ") and f"{sys.executable} -P -m oprel serve" in words
