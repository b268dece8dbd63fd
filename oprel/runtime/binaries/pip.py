"""Runs oprel's own pip, with the settings that the user has for it, and says why it failed."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from platform import machine

from oprel.core.configuration.environment import tool_environment
from oprel.core.exceptions import DownloadError

LOG = "pip.log"


def run_pip(*arguments: str, log: Path, shown: bool, wants: str = "", held: Sequence[int] = ()) -> None:
    """Run a command of pip. `shown`: it prints its progress to standard error. Raises DownloadError.

    `wants` says in a sentence what the package needs. `held` are descriptors of locks. pip inherits them, so that the
    lock outlives an oprel that is killed meanwhile.
    """
    output = sys.stderr if shown else subprocess.DEVNULL
    flags = (f"--log={log}", "--no-input", "--disable-pip-version-check")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pip", *flags, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=tool_environment(),
        pass_fds=held,
        check=False,
    )
    if done.returncode:
        raise _failure(log.read_text(errors="replace") if log.exists() else "", wants)


def _failure(log: str, wants: str) -> DownloadError:
    """pip's last error, and what the user can do about it."""
    why = (["it reported no error", *re.findall(r"ERROR: (.*)", log)])[-1]
    if "DO NOT MATCH THE HASHES" in log:
        why = "the file has another digest than the listed one"
        step = "It was discarded. If it happens again, a proxy or the index alters the file."
    elif re.search("Max retries exceeded|connection broken by|connection error|IncompleteRead", log):
        step = "Check the network, or set where pip gets packages (PIP_INDEX_URL, PIP_FIND_LINKS)."
    elif "No matching distribution" in log:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        step = f"There may be no build for Python {version} on {sys.platform} ({machine()}). {wants}".strip()
    elif "No space left on device" in log:
        step = "Free disk space, or keep engines on another disk: `binary_dir`."
    else:
        step = "Try again: pip has cached what it downloaded."
    return DownloadError(f"pip failed: {why}", step)
