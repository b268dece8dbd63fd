"""The note about settings that the running daemon does not have."""

import socket
from pathlib import Path

import pytest

from oprel import __version__
from oprel.cli.screen.settings_notes import daemon_note
from oprel.core.config import Config
from oprel.core.configuration.given import GivenSetting
from oprel.core.configuration.published import DaemonStart, publish


def test_a_file_that_was_deleted_sets_nothing_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("OPREL_CONFIG", raising=False)
    config = Config(home=str(tmp_path / "home"), parallel=2)
    config.run_dir.mkdir(parents=True)
    file = tmp_path / "oprel" / "config.yaml"
    publish(DaemonStart(config, {"parallel": GivenSetting(2, f"{file}:1")}, file=str(file)), __version__, "")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(config.socket_path))
        listener.listen()
        assert daemon_note(config, {}, None) == (
            "the running daemon still has parallel 2, which the file no longer sets: `oprel restart`"
        )
