"""Whether cached files are whole."""

from pathlib import Path

import pytest

from oprel.core.exceptions import InvalidModelError
from oprel.server.storage.cache import StoredFile, verify


async def statuses(path: Path) -> list[str]:
    return [step.status async for step in verify([StoredFile(path=path, size_bytes=0, identity=(0, 0))], {})]


async def test_of_a_file_without_a_digest_only_a_ggufs_header_can_be_verified(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert await statuses(tmp_path / "config.json") == ["config.json (unused): nobody told its digest", "success"]
    assert "its header is good" in (await statuses(tiny))[0]
    (tmp_path / "cut.gguf").write_bytes(b"GGUF")
    with pytest.raises(InvalidModelError, match=r"damaged: .*cut\.gguf"):
        await statuses(tmp_path / "cut.gguf")


async def test_what_cannot_be_seen_is_not_called_intact(tmp_path: Path) -> None:
    steps = [step.status async for step in verify([], {tmp_path / "disk": ["m:latest"]})]
    text = f"not checked: m:latest in {tmp_path / 'disk'}, which is missing, empty or not readable"
    assert steps == [text, "success"]
