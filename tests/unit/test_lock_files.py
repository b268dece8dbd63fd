"""The lock files fit pyproject.toml, and name no registry. `bin/lock` renews them."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.fixtures.documents import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = {
    "requirements.lock": PROJECT["dependencies"],
    "requirements-dev.lock": [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]],
}


def entries(name: str) -> list[str]:
    """The requirements of a lock file, each with its digests."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    return re.split(r"\n(?=\S)", "\n".join(lines))


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_is_locked_at_a_version_that_fits(name: str) -> None:
    locked: dict[str, list[str]] = {}
    for entry in entries(name):
        package, version = entry.split(" ", 1)[0].split("==")
        locked.setdefault(canonicalize_name(package), []).append(version.rstrip(";"))
    for requirement in map(Requirement, LOCKS[name]):
        versions = locked[canonicalize_name(requirement.name)]
        assert all(requirement.specifier.contains(version, prereleases=True) for version in versions), requirement


@pytest.mark.parametrize("name", LOCKS)
def test_every_entry_has_digests_and_no_address(name: str) -> None:
    assert [entry for entry in entries(name) if "--hash=sha256:" not in entry] == []
    assert "://" not in (ROOT / name).read_text()


def test_the_image_gets_what_developers_test() -> None:
    assert {entry.split(" ", 1)[0] for entry in entries("requirements.lock")} <= {
        entry.split(" ", 1)[0] for entry in entries("requirements-dev.lock")
    }
