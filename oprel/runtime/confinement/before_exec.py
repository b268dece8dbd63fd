"""What a child process does on Linux between its fork and the start of its program.

- **Memory.** Its oom_score_adj is above ours, so that the kernel takes the engine that fills the memory, and not the
  daemon with all answers. Raising it needs no right.
- **Network.** An engine on a Unix socket gets an empty network namespace: code of an attacker in it reaches no network
  and no port of this machine. Sockets that are files work as before. Root may just make one; others need a user
  namespace, in which they stay who they are, but lose rights that they were given. Where the system forbids both, or
  there are such rights, the child keeps the network.
- **Life.** The kernel kills it when the thread that forked it ends.
"""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from oprel.runtime.confinement.control_groups import ControlGroup

PR_SET_PDEATHSIG = 1  # prctl(2)
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # unshare(2)
SCORE = Path("/proc/self/oom_score_adj")
SCORE_ABOVE, HIGHEST_SCORE = 300, 1000  # of proc_pid_oom_score_adj(5)


def preparation(
    *, dies_with_parent: bool, offline: bool, group: ControlGroup | None = None
) -> Callable[[], None] | None:
    """What to pass as `preexec_fn`; None where nothing is to be done. `offline`: without a network.

    `group` is the control group that it is to be in.

    Call it in the thread that forks.
    """
    if sys.platform != "linux":
        return None
    # All is resolved here: after the fork, do not import.
    libc, parent, score = ctypes.CDLL(None), os.getpid(), _score()
    flags = CLONE_NEWUSER | CLONE_NEWNET
    has_rights = _has_rights()  # such as that to read all files, which a user namespace would take from the program
    identity = {"setgroups": b"deny", "uid_map": _same(os.geteuid()), "gid_map": _same(os.getegid())}

    def prepare() -> None:
        _write(str(SCORE), score)
        if group:
            _write(str(group.members), b"0")
        if offline and libc.unshare(CLONE_NEWNET) and not has_rights and not libc.unshare(flags):
            for name, content in identity.items():
                _write(f"/proc/self/{name}", content)
        if dies_with_parent:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # the parent died between fork and prctl
                os._exit(1)

    return prepare


def _has_rights() -> bool:
    """Whether this process has any capability: capabilities(7)."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return False
    return any(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))


def _score() -> bytes:
    try:
        own = int(SCORE.read_text())
    except (OSError, ValueError):
        own = 0
    return str(min(HIGHEST_SCORE, own + SCORE_ABOVE)).encode()


def _same(number: int) -> bytes:
    return f"{number} {number} 1".encode()


def _write(path: str, content: bytes) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY)
        try:
            os.write(descriptor, content)
        finally:
            os.close(descriptor)
