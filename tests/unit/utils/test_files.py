"""Files that are whole at any moment, and the ends of long ones."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from oprel.utils.files import (
    check_private,
    make_private,
    open_own,
    port_owner,
    read_own,
    sweep,
    tail,
    write_atomically,
)


def test_a_file_is_created_and_replaced(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    for content in (b"first", b"a longer second", b""):
        write_atomically(file, content)
        assert file.read_bytes() == content
    assert list(tmp_path.iterdir()) == [file]


def test_who_reads_the_old_file_keeps_it_whole(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    write_atomically(file, b"old")
    with file.open("rb") as reader:
        write_atomically(file, b"new")
        assert reader.read() == b"old"


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(OSError):
        write_atomically(folder, b"a file cannot replace a folder")
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "absent" / "state.json", b"")


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"one", ["one"]),
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\ntwo\nthree\nfour\n", ["two", "three", "four"]),
        (b"one\n\xff\n", ["one", "\ufffd"]),
    ],
)
def test_the_tail_is_the_last_lines(tmp_path: Path, content: bytes, lines: list[str]) -> None:
    (tmp_path / "log").write_bytes(content)
    assert tail(tmp_path / "log", 3) == lines


def test_no_more_than_the_limit_is_read_of_a_long_line(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x" * 1000 + b"\nlast\n")
    assert tail(tmp_path / "log", 2, limit_bytes=10) == ["xxxx", "last"]


def test_what_is_not_there_has_no_tail(tmp_path: Path) -> None:
    assert tail(tmp_path / "absent", 3) == []


def mode(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


def test_a_private_folder_is_made_or_closed_to_others(tmp_path: Path) -> None:
    new, open_to_all = tmp_path / "a" / "new", tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    for folder in (new, open_to_all, new):
        make_private(folder)
        assert mode(folder) == 0o700


def test_another_users_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    foreign = Path("/")
    if os.getuid() == 0:
        foreign = tmp_path / "foreign"
        foreign.mkdir()
        os.chown(foreign, 12345, 12345)
    before = mode(foreign)
    for act in (make_private, check_private):
        with pytest.raises(PermissionError, match="is not a folder owned by this user"):
            act(foreign)
    assert mode(foreign) == before


def test_a_folder_yet_to_be_made_is_nobodys(tmp_path: Path) -> None:
    check_private(tmp_path / "absent")


def test_only_a_regular_file_of_our_own_is_read(tmp_path: Path) -> None:
    file, link, fifo = tmp_path / "file", tmp_path / "link", tmp_path / "fifo"
    file.write_bytes(b"content")
    link.symlink_to(file)
    os.mkfifo(fifo)
    assert read_own(file) == b"content"
    for other in (link, fifo, tmp_path, tmp_path / "absent"):
        with pytest.raises(OSError):
            read_own(other)


def test_the_owner_of_a_port_is_read_from_the_systems_table(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    table.write_text(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:2CAB 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 1 1\n"
        "   1: 0100007F:2CAB 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1001        0 2 1\n"
    )
    assert port_owner(0x2CAB, [str(tmp_path / "none"), str(table)]) == 1001
    assert port_owner(0x1F90, [str(table)]) is None


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="the table is Linux's")
def test_the_owner_of_an_own_port_is_this_user() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert port_owner(listener.getsockname()[1]) == os.getuid()


def link(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))


def fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [link, fifo, Path.mkdir])
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_CREAT])
def test_only_a_regular_file_is_opened(tmp_path: Path, make: Callable[[Path], object], flags: int) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    make(tmp_path / "own")
    with pytest.raises(OSError):
        open_own(tmp_path / "own", flags)
    assert (tmp_path / "elsewhere").read_text() == "mine"


# A process that begins to write a file, says so, and is killed.
WRITER = """
import pathlib, sys
from oprel.utils.files import written_atomically
with written_atomically(pathlib.Path(sys.argv[1])) as file:
    file.write(b"half")
    print(flush=True)
    sys.stdin.read()
"""


def test_the_temporary_file_of_a_killed_process_is_swept_and_that_of_a_live_one_stays(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "state.json")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline()
        [temporary] = tmp_path.iterdir()
        assert sweep(tmp_path) == []
        process.kill()
    assert sweep(tmp_path) == [temporary]
    assert list(tmp_path.iterdir()) == []


def test_only_temporary_files_are_swept(tmp_path: Path) -> None:
    for name in (".config.yaml.swp", ".gitignore", "state.json", ".notes.abcdefgh"):
        (tmp_path / name).write_text("mine")
    (tmp_path / ".folder.oprel-new").mkdir()
    os.mkfifo(tmp_path / ".fifo.oprel-new")
    (tmp_path / ".last-used.json.k3_a9xyz").write_text("of an earlier version")
    assert [path.name for path in sweep(tmp_path)] == [".last-used.json.k3_a9xyz"]
    assert sweep(tmp_path / "absent") == []
