"""Further sockets and pipes of the daemon, and those that systemd passes."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from oprel.core.config import Config
from oprel.core.exceptions import ConfigError
from oprel.server.daemon.further import further_listeners, passed_sockets
from tests.conftest import temporary_home

PASSED = """
import json, os, socket, sys
from pathlib import Path
from oprel.core.config import Config
from oprel.server.daemon.further import further_listeners
config = Config(home=sys.argv[1])
variables = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "3"}
with further_listeners(config, variables) as further:
    print(json.dumps([
        [listener.getsockname() for listener in further.tcp],
        further.addresses,
        further.own.getsockname(),
        any(os.get_inheritable(number) for number in (3, 4, 5)),
    ]))
"""


@pytest.mark.parametrize(
    "listen",
    [
        *("unix:relative", "unix:/a?mode=9", "unix:/a?mode=01777", "unix:/a?mood=0600", "unix:/a?mode", "tcp:1"),
        *("http://127.0.0.1:1", "pipe:", "/a/path", "unix:"),
    ],
)
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(ConfigError, match="is no address"), further_listeners(Config(listen=listen), {}):
        pass


def test_a_file_in_the_way_stays_and_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("of the user")
    with pytest.raises(ConfigError, match="it is no socket"), further_listeners(Config(listen=f"unix:{file}"), {}):
        pass
    assert file.read_text() == "of the user"


@pytest.mark.parametrize(
    ("listen", "message"),
    [
        ("unix:{}/none/s", "No such file"),
        ("unix:{}/s?group=no-such-group", "there is no group no-such-group"),
        ("pipe:oprel", "no named pipes"),
    ],
)
def test_what_cannot_be_opened_is_named_and_leaves_nothing(tmp_path: Path, listen: str, message: str) -> None:
    config = Config(listen=listen.format(tmp_path))
    with pytest.raises(ConfigError, match=message), further_listeners(config, {}):
        pass
    assert not list(tmp_path.iterdir())


def test_a_socket_of_another_program_stays() -> None:
    with temporary_home() as folder, socket.socket(socket.AF_UNIX) as other:
        other.bind(str(folder / "s"))
        other.listen()
        config = Config(listen=f"unix:{folder}/s")
        with pytest.raises(ConfigError, match="another program listens"), further_listeners(config, {}):
            pass


def test_a_socket_that_nobody_listens_on_is_replaced_and_removed_at_the_end() -> None:
    with temporary_home() as folder:
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(folder / "s"))
        with further_listeners(Config(listen=f"unix:{folder}/s?mode=0666"), {}) as further:
            assert further.addresses == (f"unix:{folder}/s",)
            assert (folder / "s").stat().st_mode & 0o777 == 0o666
        assert not list(folder.iterdir())


def test_sockets_of_systemd_are_used_by_what_they_are() -> None:
    with temporary_home() as folder:
        config = Config(home=str(folder))
        config.run_dir.mkdir()
        with (
            socket.create_server(("127.0.0.1", 0)) as tcp,
            socket.socket(socket.AF_UNIX) as own,
            socket.socket(socket.AF_UNIX) as shared,
        ):
            own.bind(str(config.socket_path))
            shared.bind(str(folder / "shared"))
            passed = [tcp.fileno(), own.fileno(), shared.fileno()]
            # A shell gives them the numbers that systemd would.
            arguments = " ".join(f"{3 + number}<&{descriptor}" for number, descriptor in enumerate(passed))
            command = ["bash", "-c", f'exec "$@" {arguments}', "bash", sys.executable, "-c", PASSED, str(folder)]
            ended = subprocess.run(command, pass_fds=passed, capture_output=True, text=True, check=True)
            assert ended.stdout.strip() == (
                f'[[["127.0.0.1", {tcp.getsockname()[1]}]], ["unix:{folder}/shared"], "{config.socket_path}", false]'
            )


@pytest.mark.parametrize(
    "variables", [{}, {"LISTEN_FDS": "1"}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_PID": str(os.getpid())}]
)
def test_what_was_passed_to_another_process_is_left_alone(variables: dict[str, str]) -> None:
    assert passed_sockets(variables) == []
