"""Users whom the system does not know: no entry in the passwd file, no HOME; and output in encodings without ✓.

Only root can become such a user.
"""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from oprel.cli.main import COMMANDS
from tests.conftest import ENGINE_THREADS, NOWHERE, temporary_home
from tests.fixtures.gguf_factory import write_tiny_gguf

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="only root can become another user"),
]

STRANGER, ANOTHER = 41234, 41235  # user IDs
SECONDS = 120
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
# In this order; `stop` ends the daemon that the first of them starts.
WORDS = {
    "list": [],
    "run": ["guide", "café?"],
    "chat": ["guide"],
    "pull": ["org/model:q9_9"],
    "search": ["qwen"],
    "push": ["guide"],
    "import": ["m.gguf", "mine"],
    "list-models": [],
    "ps": [],
    "logs": ["guide"],
    "show": ["guide"],
    "inspect": ["m.gguf"],
    "engines": [],
    "create": ["other"],
    "cp": ["mine", "second"],
    "rm": ["second"],
    "cache": [],
    "hf": ["whoami"],
    "crash": [],
    "quarantine": [],
    "keys": [],
    "plan": ["guide"],
    "hardware": [],
    "bench": ["memory"],
    "doctor": [],
    "selftest": [],
    "config": ["show"],
    "restart": [],
    "service": ["status"],
    "completion": ["bash"],
    "version": [],
    "help": ["run"],
    "stop": ["--daemon"],
}
# What these cannot do here: there is no network, no login and no service; doctor may find fault with the machine.
REFUSED = {"pull": 8, "search": 8, "push": 2, "hf": 2, "service": 1}
SLOW = {"selftest", "bench"}  # run in one encoding


@dataclass(frozen=True)
class User:
    """Somebody with that user ID, in a temporary folder of their own, where the model m.gguf lies."""

    id: int
    folder: Path
    network: Path | None = None  # a namespace

    def __call__(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command. The right to read is kept, since the interpreter may lie in root's home."""
        settings = {"N_THREADS": str(ENGINE_THREADS), "HF_ENDPOINT": NOWHERE, "OLLAMA_REGISTRY": NOWHERE}
        environment = {"PATH": os.environ["PATH"], "TMPDIR": str(self.folder), **variables}
        environment |= {f"OPREL_{name}": value for name, value in settings.items()}
        command = ["nsenter", f"--net={self.network}"] if self.network else []
        command += ["setpriv", f"--reuid={self.id}", f"--regid={self.id}", "--clear-groups"]
        command += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        return subprocess.run(
            [*command, sys.executable, "-P", "-m", "oprel", *arguments],
            env=environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )


@pytest.fixture
def users() -> Iterator[tuple[User, User]]:
    with temporary_home() as one, temporary_home() as other:
        users = User(STRANGER, one), User(ANOTHER, other)
        for user in users:
            write_tiny_gguf(user.folder / "m.gguf")
            (user.folder / "Modelfile").write_text("FROM guide\n")
            os.chown(user.folder, user.id, user.id)
        try:
            yield users
        finally:
            for user in users:
                user("stop", "--daemon", "--now")


def test_every_command_is_tried() -> None:
    assert COMMANDS.keys() - WORDS.keys() <= {"serve"}  # which `list` starts


@pytest.mark.timeout(600)
@pytest.mark.parametrize("encoding", [{}, ASCII], ids=["UTF-8", "ASCII"])
def test_commands_work_without_a_home(users: tuple[User, User], encoding: dict[str, str]) -> None:
    user, _ = users
    for command, words in WORDS.items():
        if command in SLOW and encoding != ASCII:
            continue
        done = user(command, *words, OPREL_SERVER_PORT="0", **encoding)
        expected = {0, 1} if command == "doctor" else {REFUSED.get(command, 0)}
        assert done.returncode in expected and b"Traceback" not in done.stderr, (command, done)
        if command == "list":
            home = user.folder / f"oprel-home-{user.id}"
            assert f"this user has no home folder: models are kept in {home}".encode() in done.stderr
            status = home.stat()
            assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (user.id, 0o700)


def test_a_folder_of_somebody_else_is_no_home(users: tuple[User, User]) -> None:
    user, other = users
    trap = user.folder / f"oprel-home-{user.id}"
    trap.mkdir(mode=0o777)
    os.chown(trap, other.id, other.id)
    done = user("version")
    assert done.returncode == 2 and b"is not a folder owned by this user" in done.stderr
    assert list(trap.iterdir()) == []


@pytest.fixture
def network() -> Iterator[Path]:
    """A network namespace, where the usual port is free."""
    if not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        pytest.skip("needs a network of its own")
    command = ["unshare", "--net", "sh", "-c", "ip link set lo up && echo && exec sleep infinity"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout and holder.stdout.readline()
        yield Path(f"/proc/{holder.pid}/ns/net")
        holder.kill()


@pytest.mark.timeout(300)
def test_a_second_user_gets_another_port_and_is_told(network: Path, users: tuple[User, User]) -> None:
    first, second = (replace(user, network=network) for user in users)
    try:
        assert b"belongs to another user" not in first("list").stderr
        done = second("list")
        assert done.returncode == 0
        assert b"Port 11435 belongs to another user: this daemon listens on http://127.0.0.1:11436." in done.stderr
        assert b"listens on another one, which its log names" in second("doctor").stdout
        assert b"guide" in second("list", OPREL_HOST="http://127.0.0.1:11436").stdout
    finally:
        for user in (first, second):
            user("stop", "--daemon", "--now")


@pytest.mark.parametrize("path", ["", "run", "run/daemon.lock", "run/start.lock", "daemon.lock", "logs/daemon.log"])
def test_what_belongs_to_root_since_a_sudo_is_named_with_the_remedy(users: tuple[User, User], path: str) -> None:
    user, _ = users
    home = user.folder / "home"
    for folder in (home, home / "run", home / "logs", home / "models"):
        folder.mkdir()
        folder.chmod(0o700)
        os.chown(folder, user.id, user.id)
    (home / "run" / "daemon.lock").touch(0o600)
    for name in ("run/daemon.lock", "run/start.lock", "daemon.lock", "logs/daemon.log"):
        (home / name).touch(0o600)
        os.chown(home / name, user.id, user.id)
    os.chown(home / path, 0, 0)
    done = user("list", OPREL_HOME=str(home), OPREL_SERVER_PORT="0")
    assert done.returncode != 0 and b"Traceback" not in done.stderr
    words = " ".join(done.stderr.decode().split())
    named = home / path if path else home
    assert f"{named} belongs to root, as after `sudo oprel`: `sudo chown -R {user.id} {home}" in words
