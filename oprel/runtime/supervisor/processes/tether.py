"""Runs a command that must not outlive its parent, nor may its children: for systems without PR_SET_PDEATHSIG.

    python -P -m oprel.runtime.supervisor.processes.tether COMMAND...

Its standard input is a pipe whose other end the daemon holds and never writes to. However the daemon ends, the kernel
closes that end, and this process kills its whole process group. The command runs in the same group, so the signals that
oprel sends to the group reach it directly; this process must not forward them, because a second SIGINT makes
llama-server drop its work. It exits as the command does: with its status, or by its signal.
"""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

assert sys.platform != "win32"

POLITE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CANNOT_START = 126


def run(command: Sequence[str]) -> int:
    if os.getpgrp() != os.getpid():
        os.setpgrp()  # else we would kill the caller's group
    for number in POLITE:
        signal.signal(number, lambda *_: None)  # not SIG_IGN: the command would inherit it
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error.strerror}\n")
        return CANNOT_START
    threading.Thread(target=_end_with_input, daemon=True).start()
    status = child.wait()
    if status < 0:
        _die_of(-status)
    return status


def _end_with_input() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _die_of(number: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the command has dumped its own core, if any
    with contextlib.suppress(OSError):  # SIGKILL
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
