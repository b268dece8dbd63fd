"""The addresses of the project in the wheel's metadata.

They are not written down in the source: they are those of the clone that is built (its remote `origin`), or of the
variable REPOSITORY_URL.
"""

import os
import re
import subprocess
from pathlib import Path

PAGES = {"Documentation": "tree/main/docs", "Changelog": "blob/main/CHANGELOG.md", "Issues": "issues"}


def project_addresses(root: Path) -> dict[str, str]:
    """The addresses for the folder that is built; none for a clone of a folder on this machine."""
    return addresses(os.environ.get("REPOSITORY_URL") or _remote(root) or _of_sdist(root))


def addresses(repository: str) -> dict[str, str]:
    """The pages of a repository, by their names on an index of packages.

    >>> addresses("git@git.example:me/oprel.git")["Source"]
    'https://git.example/me/oprel'
    """
    ssh = re.fullmatch(r"(?:ssh://)?\w+@([\w.-]+)[:/](.+)", repository)
    url = f"https://{ssh[1]}/{ssh[2]}" if ssh else re.sub(r"(?<=://)[^/@]+@", "", repository)
    url = url.removesuffix("/").removesuffix(".git")
    if not url.startswith("https://"):
        return {}
    return {"Homepage": url, "Source": url, **{name: f"{url}/{path}" for name, path in PAGES.items()}}


def _remote(root: Path) -> str:
    command = ["git", "-C", str(root), "remote", "get-url", "origin"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # no git
        return ""


def _of_sdist(root: Path) -> str:
    """What the source distribution says that is built."""
    file = root / "PKG-INFO"
    named = re.search(r"^Project-URL: Source, (\S+)", file.read_text(), re.MULTILINE) if file.exists() else None
    return named[1] if named else ""
