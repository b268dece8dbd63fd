"""Homes in which a file or folder is damaged: the real commands start a daemon, and `oprel doctor` names the damage.

`bin/test state` runs these; tests/unit/server/daemon/test_healing.py has the same table in one process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from oprel.core.config import Config
from tests.conftest import NOWHERE
from tests.fixtures.damaged_homes import CASES, Damaging, damage, fifo, folder, write_home

pytestmark = pytest.mark.state

SECONDS = 120
FAULTS = {"home", "state.db", "crashes", "models", "set aside"}  # subjects of doctor's findings
CONFIG_FILES = {"garbage": b"\x00\xff\xfe", "not YAML": b"a: [", "unknown key": b"serve_port: 1", "a list": b"- 1"}


def oprel(config: Config, *words: str) -> "subprocess.CompletedProcess[str]":
    file = str(config.home_dir / "config.yaml")
    variables = {
        "HOME": config.home,
        "CONFIG": file,
        "SERVER_PORT": "0",
        "HF_ENDPOINT": NOWHERE,
        "OLLAMA_REGISTRY": NOWHERE,
    }
    environment = os.environ | {f"OPREL_{name}": value for name, value in variables.items()}
    command = [sys.executable, "-P", "-m", "oprel", *words]
    return subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS
    )


@pytest.mark.parametrize(("place", "damaging"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_a_daemon_starts_and_doctor_names_the_damage(
    config: Config, tiny: Path, place: str, damaging: Damaging
) -> None:
    write_home(config, tiny)
    (config.home_dir / "config.yaml").write_text("")
    damage(config, place, damaging)
    try:
        listed = oprel(config, "list")
        assert (listed.returncode, "guide:latest" in listed.stdout) == (0, True), listed
        report = json.loads(oprel(config, "doctor", "--json").stdout)
        faults = [finding for finding in report["findings"] if finding["level"] == "warning"]
        assert FAULTS & {finding["subject"] for finding in faults}, report
    finally:
        assert oprel(config, "stop", "--daemon", "--now").returncode == 0


@pytest.mark.parametrize("content", CONFIG_FILES.values(), ids=CONFIG_FILES)
def test_settings_that_cannot_be_read_are_not_guessed(config: Config, content: bytes) -> None:
    (config.home_dir / "config.yaml").write_bytes(content)
    refused = oprel(config, "list")
    assert refused.returncode == 2 and "config.yaml" in refused.stderr, refused


@pytest.mark.parametrize("make", [fifo, folder])
def test_settings_in_no_file_are_refused(config: Config, make: Damaging) -> None:
    make(config.home_dir / "config.yaml")
    refused = oprel(config, "list")
    assert refused.returncode == 2 and "config.yaml" in refused.stderr, refused
