"""The daemon's lock, socket and settings are made again when somebody removes them."""

import asyncio
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oprel.core.config import Config
from oprel.core.configuration.published import DaemonStart, published
from oprel.core.home import lock_files, prepare_home
from oprel.server.daemon import run_files as module
from oprel.server.daemon.home_lock import HomeLock
from oprel.server.daemon.run_files import RunFiles
from oprel.utils.files import listens
from tests.conftest import eventually

ADDRESS = "http://127.0.0.1:1"


@pytest.fixture
def files(config: Config) -> Iterator[RunFiles]:
    prepare_home(config)
    files = RunFiles(DaemonStart(config=config, given={}))
    assert files.lock.take()
    listener = files.make(ADDRESS)
    assert listener
    with listener:
        yield files
    files.lock.release()


def unlink(*names: str) -> Callable[[Config], None]:
    def remove(config: Config) -> None:
        for name in names:
            (config.run_dir / name).unlink()

    return remove


def replace_socket(config: Config) -> None:
    unlink("oprel.sock")(config)
    config.socket_path.touch()


def replace_run_folder(config: Config) -> None:
    shutil.rmtree(config.run_dir)
    config.run_dir.touch()


def put_a_folder(config: Config) -> None:
    unlink("oprel.sock")(config)
    (config.socket_path / "with content").mkdir(parents=True)


REMOVALS: dict[str, Callable[[Config], None]] = {
    "socket": unlink("oprel.sock"),
    "lock": unlink("daemon.lock"),
    "lock in the home": lambda config: (config.home_dir / "daemon.lock").unlink(),
    "settings": unlink("settings.json"),
    "everything in it": unlink("oprel.sock", "daemon.lock", "settings.json"),
    "run folder": lambda config: shutil.rmtree(config.run_dir),
    "another file in place of the socket": replace_socket,
    "a folder in place of the socket": put_a_folder,
    "a file in place of the run folder": replace_run_folder,
}


@pytest.mark.parametrize("remove", REMOVALS.values(), ids=REMOVALS)
async def test_what_is_gone_is_made_again(
    files: RunFiles, config: Config, remove: Callable[[Config], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "INTERVAL", 0.01)
    made = list[socket.socket]()

    async def use(listener: socket.socket) -> None:
        made.append(listener)

    async with files.kept(use):
        remove(config)
        await asyncio.to_thread(eventually, files._are_whole)
    assert config.run_dir.stat().st_mode & 0o777 == 0o700
    settings = published(config)
    assert settings and (settings.address, settings.pid) == (ADDRESS, os.getpid())
    assert {path.read_text() for path in lock_files(config)} == {str(os.getpid())}
    assert not HomeLock(lock_files(config)).take()
    assert listens(config.socket_path)
    for listener in made:
        listener.close()


def test_a_socket_of_another_program_is_left_alone(files: RunFiles, config: Config) -> None:
    config.socket_path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(config.socket_path))
        other.listen()
        with pytest.raises(OSError, match="another program listens"):
            files.made_again()
        files.remove()
        assert config.socket_path.exists()


def folder(path: Path) -> None:
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "folder": folder,
    "FIFO": os.mkfifo,
    "link in a circle": lambda path: path.symlink_to(path),
    "link to a file": lambda path: path.symlink_to("/etc/hostname"),
    "no number": lambda path: path.write_bytes(b"\xff" * 100),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_lock_is_taken_whatever_was_in_its_place(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    path = tmp_path / "daemon.lock"
    damage(path)
    lock = HomeLock([path])
    assert lock.take() and lock.is_whole
    assert (path.is_symlink(), path.read_text()) == (False, str(os.getpid()))
    lock.release()


@pytest.mark.parametrize("name", ["first", "second"])
def test_one_of_two_locks_is_enough_to_keep_another_daemon_out(tmp_path: Path, name: str) -> None:
    paths = [tmp_path / "first", tmp_path / "second"]
    lock, other = HomeLock(paths), HomeLock(paths)
    assert lock.take()
    (tmp_path / name).unlink()
    assert not lock.is_whole
    assert not other.take()
    assert other.holder == str(os.getpid())
    other.release()
    assert lock.take() and lock.is_whole
    lock.release()
    assert other.take()
    other.release()
