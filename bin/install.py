"""Install this checkout into .venv. The launchers run it; standard library only.

usage: install.py run|dev      what oprel needs, or that and the development tools, at the versions of the lock file

Files in .venv: `checkout` names the path it was made for; `installed-run` and `installed-dev` have the time of the
pyproject.toml that was installed; `unfinished` exists during an installation, and after one that was killed.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = ROOT / "pyproject.toml"
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UNFINISHED = VENV / "unfinished"
# `--no-deps`: the lock file has them all. `bin/lock` renews it.
REQUIREMENTS = {
    "run": [["--editable", "."]],
    "dev": [["--require-hashes", "--requirement", "requirements-dev.lock"], ["--no-deps", "--editable", "."]],
}
SATISFIES = {"run": ["run"], "dev": ["run", "dev"]}


class InstallError(Exception):
    """A command failed; the message is the end of what it printed."""


def main(kind: str) -> int:
    try:
        with (ROOT / ".venv.lock").open("w") as lock:
            wait_for(lock)
            if not up_to_date(kind):
                say(reason(kind))
                install(kind, lock)
    except KeyboardInterrupt:
        say("installation interrupted; the next start tries again")
        return 130
    except (InstallError, OSError) as error:
        print_failure(error)
        return 1
    return 0


def wait_for(lock: IO[str]) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("waiting for another installation into .venv...")
        fcntl.flock(lock, fcntl.LOCK_EX)


def up_to_date(kind: str) -> bool:
    stamp = VENV / f"installed-{kind}"
    return usable() and stamp.exists() and stamp.stat().st_mtime_ns == PYPROJECT.stat().st_mtime_ns


def usable() -> bool:
    """Whether .venv is whole, made for this path, and its python still runs."""
    checkout = VENV / "checkout"
    if UNFINISHED.exists() or not checkout.exists() or checkout.read_text() != f"{ROOT}\n":
        return False
    return os.access(PYTHON, os.X_OK) and subprocess.run([PYTHON, "-c", ""], check=False).returncode == 0


def reason(kind: str) -> str:
    if not VENV.exists():
        return "first run, installing into .venv (about a minute)..."
    if not usable():
        return "rebuilding .venv, which is incomplete or was made elsewhere (about a minute)..."
    if kind == "dev" and not (VENV / "installed-dev").exists():
        return "installing the development tools into .venv (about a minute)..."
    return "pyproject.toml has changed, updating .venv..."


def install(kind: str, lock: IO[str]) -> None:
    asked_ns = PYPROJECT.stat().st_mtime_ns  # before pip reads it: an edit made meanwhile counts as a change
    if not usable():
        make_venv(lock)
    UNFINISHED.touch()
    try:
        for requirements in REQUIREMENTS[kind]:
            call([*pip(), "install", "--quiet", "--no-input", *requirements], lock)
    except InstallError:
        UNFINISHED.unlink()  # pip itself gave up: it leaves what was there before
        raise
    UNFINISHED.unlink()
    for satisfied in SATISFIES[kind]:
        stamp = VENV / f"installed-{satisfied}"
        stamp.touch()
        os.utime(stamp, ns=(asked_ns, asked_ns))


def make_venv(lock: IO[str]) -> None:
    # Resolved, so that an upgrade of the system's python3 leaves a dangling link, which is seen, not a wrong version.
    python = str(Path(sys.executable).resolve())
    shutil.rmtree(VENV, ignore_errors=True)
    try:
        call([python, "-m", "venv", str(VENV)], lock)
    except InstallError:  # Debian without python3-venv: no ensurepip; pip() then borrows the pip of that python
        shutil.rmtree(VENV, ignore_errors=True)
        call([python, "-m", "venv", "--without-pip", str(VENV)], lock)
    (VENV / "checkout").write_text(f"{ROOT}\n")


def pip() -> list[str]:
    if (VENV / "bin" / "pip").exists():
        return [str(PYTHON), "-m", "pip", "--disable-pip-version-check"]
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(PYTHON)]


def call(command: list[str], lock: IO[str]) -> None:
    """Run `command`, which keeps the lock even if this process is killed."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=[lock.fileno()],
        check=False,
    )
    if done.returncode < 0:
        raise ChildProcessError(f"{command[0]} was ended by signal {-done.returncode}")
    if done.returncode:
        raise InstallError(done.stdout or f"{command[0]} ended with {done.returncode}")


def print_failure(error: Exception) -> None:
    for line in str(error).strip().splitlines()[-15:]:
        sys.stderr.write(f"  {line}\n")
    say("installation failed. Check the network, the free disk space and that this Python has venv and pip")
    say(f"(Debian: apt install python3-venv), then try again. To start afresh, remove {VENV}")


def say(message: str) -> None:
    sys.stderr.write(f"oprel: {message}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
