"""T2: a damaged file that somebody uploads is refused by its header, and no engine sees it."""

import hashlib
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from oprel.core.config import Config
from oprel.server.app import create_app
from tests.conftest import temporary_home
from tests.fixtures.daemons import daemon_parts

HEAD = 24  # bytes: magic, version, number of tensors, number of entries
ROUNDS = 60


@pytest.fixture
def sound(tiny: Path) -> bytes:
    return tiny.read_bytes()


@pytest.fixture
def short_home() -> Iterator[Path]:
    with temporary_home() as home:
        yield home


def damaged(content: bytes, at: int, number: int) -> bytes:
    return content[:at] + struct.pack("<Q", number) + content[at + 8 :]


def files(content: bytes) -> Iterator[tuple[bytes, bool]]:
    """Files, and whether each is certainly no model."""
    for size in (0, 3, 4, HEAD - 1, HEAD, HEAD + 1, 100, 1000, len(content) // 2, len(content) - 1):
        yield content[:size], True
    for at in (8, 16):
        for number in (0, 2**31, 2**32, 2**62, 2**63, 2**64 - 1):
            yield damaged(content, at, number), number > 0
    for name in (b"general.alignment", b"tokenizer.ggml.tokens", b"llama.block_count", b"general.architecture"):
        if (at := content.find(name)) > 0:
            yield damaged(content, at - 8, 2**63), True  # the length of the name
            yield damaged(content, at + len(name) + 4, 2**64 - 1), False
    chance = random.Random(21)
    for _ in range(ROUNDS):
        yield damaged(content, chance.randrange(HEAD, 4096), chance.choice((0, 2**31, 2**63, 2**64 - 1))), False


async def test_no_damaged_file_becomes_a_model_unnoticed(sound: bytes, short_home: Path) -> None:
    async with daemon_parts(Config(home=str(short_home))) as state:
        transport = httpx.ASGITransport(create_app(state), client=("127.0.0.1", 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as http:
            for content, is_none in files(sound):
                digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
                assert (await http.post(f"/api/blobs/{digest}", content=content)).status_code in (200, 201)
                body = {"model": "new", "files": {"m.gguf": digest}, "stream": False}
                answer = await http.post("/api/create", json=body)
                assert answer.status_code in ((400,) if is_none else (200, 400)), answer.text
        assert state.manager.loaded == []
