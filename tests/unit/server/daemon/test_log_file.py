"""The daemon's log is continued in a new file, whatever wrote to the old one; in a process of its own."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import logging, os, sys
from pathlib import Path
from oprel.server.daemon.log_file import DaemonLog
log = logging.getLogger("test")
log.addHandler(DaemonLog(Path(sys.argv[1]), limit=100))
exec(sys.argv[2])
"""


def logged(path: Path, script: str, *, to: Path | None = None) -> None:
    """Run a script whose output goes to the log, or to another file."""
    with (to or path).open("ab") as output:
        subprocess.run([sys.executable, "-c", PROGRAM, path, script], stdout=output, stderr=output, check=True)


def test_a_full_log_is_continued_and_the_oldest_is_lost(tmp_path: Path) -> None:
    logged(tmp_path / "daemon.log", "for number in range(5): log.error(f'{number}' * 100)")
    contents = {file.name: file.read_text()[0] for file in tmp_path.iterdir()}
    assert contents == {"daemon.log": "4", "daemon.log.1": "3", "daemon.log.2": "2"}


def test_what_others_write_is_in_the_new_file_too(tmp_path: Path) -> None:
    script = "log.error('a' * 100); log.error('b'); os.write(2, b'trace'); os.write(1, b'output')"
    logged(tmp_path / "daemon.log", script)
    assert (tmp_path / "daemon.log").read_text() == "b\ntraceoutput"


def test_a_log_that_another_process_moved_or_removed_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "daemon.log"
    logged(path, f"log.error('a'); os.rename({str(path)!r}, {str(path) + '.1'!r}); log.error('b')")
    assert (path.read_text(), (tmp_path / "daemon.log.1").read_text()) == ("b\n", "a\n")
    logged(path, f"os.unlink({str(path)!r}); log.error('c')")
    assert path.read_text() == "c\n"


def test_a_log_whose_folder_was_removed_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "daemon.log"
    path.parent.mkdir()
    logged(path, f"log.error('a'); import shutil; shutil.rmtree({str(path.parent)!r}); log.error('b')")
    assert path.read_text() == "b\n"


def test_two_daemons_write_to_the_same_current_file(tmp_path: Path) -> None:
    """One that ends, and the next one, which waits for it."""
    path = tmp_path / "daemon.log"
    path.write_text("old\n")
    script = f"""
import subprocess
log.error('first' * 30)
next_one = [sys.executable, '-c', {PROGRAM!r}, sys.argv[1], "log.error('second')"]
subprocess.run(next_one, check=True)
log.error('last')
"""
    logged(path, script)
    assert path.read_text() == "second\nlast\n"


def test_the_log_of_a_terminal_or_another_file_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "mine.txt"
    logged(tmp_path / "daemon.log", "for number in range(5): log.error('x' * 100)", to=other)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
