"""The list of builds: oprel's own, and one of the user's."""

from pathlib import Path

import pytest
import yaml

from oprel.core.exceptions import ConfigError
from oprel.runtime.binaries.llama_cpp.listing import read_listing
from tests.fixtures.engine_builds import entry, write_list


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "llama-b1.tar.gz"
    path.write_bytes(b"content")
    return path


def test_oprels_own_list_can_be_read() -> None:
    listing = read_listing()
    assert listing.sources and all(release.sha256 for release in listing.releases)


def test_a_list_of_the_users_own_replaces_it(tmp_path: Path, archive: Path) -> None:
    listing = read_listing(str(write_list(tmp_path / "list.yaml", entry(archive, 7))))
    assert [release.build for release in listing.releases] == [7]
    assert listing.sources == ()


def test_an_empty_list_has_nothing(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").touch()
    assert read_listing(str(tmp_path / "list.yaml")).releases == ()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sha256": "unknown"}, "releases.0: Value error, sha256 of llama-b1.tar.gz must be 64 hexadecimal digits"),
        ({"file": "../llama.tar.gz"}, "releases.0: Value error, file must be a name, not ../llama.tar.gz"),
        ({"api": "cudda"}, "releases.0.api: Input should be 'cuda', 'rocm', 'vulkan', 'metal' or 'cpu'"),
        ({"neds": {}}, "releases.0.neds: Unexpected keyword argument"),
        ({"needs": {"glib": "2.1"}}, "releases.0.needs.glib: Unexpected keyword argument"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_place(tmp_path: Path, archive: Path, changes: dict, why: str) -> None:
    path = write_list(tmp_path / "list.yaml", entry(archive, 1, **changes))
    with pytest.raises(ConfigError) as caught:
        read_listing(str(path))
    assert caught.value.message == f"{path} cannot be used: {why}"


def test_a_missing_list_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="which cannot be read: No such file"):
        read_listing(str(tmp_path / "absent.yaml"))


def test_what_is_no_yaml_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("releases: [")
    with pytest.raises(ConfigError, match="is not valid YAML"):
        read_listing(str(path))
    path.write_text(yaml.safe_dump(["a"]))
    with pytest.raises(ConfigError, match="cannot be used"):
        read_listing(str(path))
