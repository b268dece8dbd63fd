"""Files fetched from a real server that behaves well, badly, or not at all."""

import asyncio
import hashlib
import json
import os
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import httpx
import pytest

from oprel.core.configuration.rates import HourlyRate
from oprel.core.exceptions import DiskFullError, DownloadError
from oprel.downloader.source import Progress, RemoteFile
from oprel.downloader.transfer.disk import part_of
from oprel.downloader.transfer.fetch import Limits, fetch
from tests.fixtures import xet_store
from tests.fixtures.hub_server import PIECE, Behaviour, HubServer, Mode

SIZE = 1_000_003
HURRIED = Limits(segments=4, segment_bytes=64 * 1024, header_timeout=0.3, stall_timeout=0.3, tries=5, first_wait=0.005)
MODEL = "org/repo/model.gguf"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    file = tmp_path / "served" / MODEL
    file.parent.mkdir(parents=True)
    file.write_bytes(random.Random(7).randbytes(SIZE))
    with HubServer(tmp_path / "served").running() as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


def content(hub: HubServer) -> bytes:
    return (hub.folder / MODEL).read_bytes()


def offered(hub: HubServer, *, sha256: bool = True) -> RemoteFile:
    digest = hashlib.sha256(content(hub)).hexdigest() if sha256 else ""
    return RemoteFile(
        name="model.gguf",
        url=f"{hub.url}/org/repo/resolve/main/model.gguf",
        size_bytes=len(content(hub)),
        sha256=digest,
    )


def leftovers(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir() if path != target)


# What a hostile server does -> what there is to say when the file cannot be had; "" when it can be had all the same.
HOSTILE = {
    Mode.WELL: "",
    Mode.NO_RANGES: "",
    Mode.WHOLE_SOMETIMES: "",
    Mode.WRONG_RANGE: "",
    Mode.DROPS: "",
    Mode.WRONG_BYTES: "digest mismatch",
    Mode.CHANGES: "digest mismatch",
    Mode.NODES: "",
    Mode.BUSY: "",
    Mode.FAILS: "",
    Mode.DOWN: "HTTP 503",
    Mode.SLOW: "",
    Mode.SILENT: "did not answer within",
    Mode.STALLS: "",
}


@pytest.mark.parametrize("mode", HOSTILE, ids=lambda mode: mode.value)
async def test_a_hostile_server_gives_the_right_file_or_a_clear_error_and_blocks_nothing(
    mode: Mode, hub: HubServer, client: httpx.AsyncClient, tmp_path: Path
):
    file, target = offered(hub), tmp_path / "there" / "model"
    hub.behaviour = Behaviour(mode, drop_bytes=30_000, pause=0.0005)
    if HOSTILE[mode]:
        with pytest.raises(DownloadError, match=HOSTILE[mode]):
            await fetch(file, target, client=client, limits=HURRIED)
        assert not target.exists()
        hub.behaviour = Behaviour()
        await fetch(file, target, client=client, limits=HURRIED)
    else:
        await fetch(file, target, client=client, limits=HURRIED)
    assert target.read_bytes() == content(hub)
    assert leftovers(target) == []


async def test_no_byte_is_fetched_twice_from_a_server_that_behaves(hub, client, tmp_path):
    told: list[Progress] = []
    await fetch(offered(hub), tmp_path / "model", client=client, progress=told.append, limits=HURRIED)
    assert sum(hub.sent.values()) == SIZE
    assert told[-1] == Progress(offered(hub), SIZE, "done")
    assert [one.done_bytes for one in told if one.phase == "downloading"] == sorted(
        one.done_bytes for one in told if one.phase == "downloading"
    )


async def test_a_file_that_is_there_is_not_asked_for(hub, client, tmp_path):
    target = tmp_path / "model"
    target.write_bytes(content(hub))
    await fetch(offered(hub), target, client=client, limits=HURRIED)
    assert not hub.seen


@pytest.mark.parametrize("name", ["model.part", "model.part.json", "model.part.json.new"])
@pytest.mark.parametrize("kind", ["link", "FIFO"])
async def test_what_was_put_in_the_place_of_a_partial_file_is_replaced_and_not_followed(
    name, kind, hub, client, tmp_path
):
    target, other = tmp_path / "model", tmp_path / "other"
    other.write_bytes(b"mine")
    if kind == "link":
        (tmp_path / name).symlink_to(other)
    else:
        os.mkfifo(tmp_path / name)
    await fetch(offered(hub), target, client=client, limits=HURRIED)
    assert (target.read_bytes(), other.read_bytes()) == (content(hub), b"mine")
    assert not target.is_symlink() and leftovers(target) == ["other", "served"]


async def test_secrets_stay_with_the_host_they_are_for(hub, client, tmp_path):
    file = replace(offered(hub), headers={"Authorization": "Bearer secret"})
    await fetch(file, tmp_path / "model", client=client, limits=HURRIED)
    assert {path for _, path in hub.authorized} == {"/org/repo/resolve/main/model.gguf"}


async def test_a_transfer_that_was_given_up_goes_on_where_it_was(hub, client, tmp_path):
    file, target = offered(hub), tmp_path / "model"
    hub.behaviour = Behaviour(Mode.SLOW, pause=0.005)
    halfway = asyncio.Event()

    def watch(progress: Progress) -> None:
        if progress.done_bytes > SIZE * 3 // 4:  # the rest, and what was on its way, is less
            halfway.set()

    transfer = asyncio.ensure_future(fetch(file, target, client=client, progress=watch, limits=HURRIED))
    await halfway.wait()
    transfer.cancel()
    await asyncio.gather(transfer, return_exceptions=True)
    assert leftovers(target) == ["model.part", "model.part.json", "served"]
    sent = sum(hub.sent.values())
    hub.behaviour = Behaviour()
    await fetch(file, target, client=client, limits=HURRIED)
    assert target.read_bytes() == content(hub)
    assert sum(hub.sent.values()) - sent <= SIZE // 2


async def test_without_a_digest_a_changed_file_is_fetched_from_the_beginning(hub, client, tmp_path, caplog):
    file, target = offered(hub, sha256=False), tmp_path / "model"
    state = {"version": 1, "size": SIZE, "sha256": "", "etag": '"older"', "host": hub.elsewhere.split("//")[1]}
    await _give_up_halfway(hub, file, target, client)
    _change_state(target, state)
    hub.behaviour = Behaviour()
    await fetch(file, target, client=client, limits=HURRIED)
    assert target.read_bytes() == content(hub)
    assert "has changed at localhost since the transfer began: restarting the download" in caplog.text


async def test_without_a_digest_a_file_that_changes_meanwhile_is_wholly_the_new_one(hub, client, tmp_path, caplog):
    hub.behaviour = Behaviour(Mode.CHANGES)
    await fetch(offered(hub, sha256=False), tmp_path / "model", client=client, limits=HURRIED)
    changed = bytearray(content(hub))
    for start in range(0, SIZE, PIECE):
        changed[start] ^= 1
    assert (tmp_path / "model").read_bytes() == changed
    assert "restarting the download" in caplog.text


async def _give_up_halfway(hub: HubServer, file: RemoteFile, target: Path, client: httpx.AsyncClient) -> None:
    """Leave the partial state of a transfer that failed."""
    hub.behaviour = Behaviour(Mode.DROPS, drop_bytes=30_000)

    def give_up(progress: Progress) -> None:
        if progress.done_bytes > SIZE // 3:
            raise DownloadError("given up")

    with pytest.raises(DownloadError, match="given up"):
        await fetch(file, target, client=client, progress=give_up, limits=HURRIED)


def _change_state(target: Path, changes: dict[str, object]) -> None:
    path = Path(f"{target}.part.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _write(path: str, content: bytes) -> None:
    """Over the beginning of a file; a JSON's is all of it."""
    with open(path, "wb" if path.endswith(".json") else "r+b") as file:
        file.write(content)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"version": 1}', b"null"])
async def test_a_damaged_state_is_as_good_as_none(damage, hub, client, tmp_path):
    file, target = offered(hub), tmp_path / "model"
    await _give_up_halfway(hub, file, target, client)
    _write(f"{target}.part.json", damage)
    hub.behaviour = Behaviour()
    await fetch(file, target, client=client, limits=HURRIED)
    assert target.read_bytes() == content(hub)


async def test_a_partial_file_that_was_damaged_is_found_out_and_fetched_anew(hub, client, tmp_path, caplog):
    file, target = offered(hub), tmp_path / "model"
    await _give_up_halfway(hub, file, target, client)
    _write(f"{target}.part", b"damage")
    hub.behaviour = Behaviour()
    await fetch(file, target, client=client, limits=HURRIED)
    assert target.read_bytes() == content(hub)
    assert "is damaged: restarting the download" in caplog.text


async def test_two_transfers_of_one_file_fetch_it_once(hub, client, tmp_path):
    file, target = offered(hub), tmp_path / "model"
    hub.behaviour = Behaviour(Mode.SLOW, pause=0.001)
    await asyncio.gather(*(fetch(file, target, client=client, limits=HURRIED) for _ in range(3)))
    assert target.read_bytes() == content(hub)
    assert sum(hub.sent.values()) == SIZE


async def test_an_empty_file_is_a_file(hub, client, tmp_path):
    (hub.folder / "org/repo/nothing.bin").touch()
    empty = RemoteFile(
        name="nothing.bin",
        url=f"{hub.url}/org/repo/resolve/main/nothing.bin",
        size_bytes=0,
        sha256=hashlib.sha256().hexdigest(),
    )
    await fetch(empty, tmp_path / "nothing", client=client, limits=HURRIED)
    assert (tmp_path / "nothing").read_bytes() == b""


async def test_a_rate_is_kept(hub, client, tmp_path):
    began = asyncio.get_running_loop().time()
    await fetch(
        offered(hub), tmp_path / "model", client=client, limits=replace(HURRIED, rates=(HourlyRate(0, 0, 4 * SIZE),))
    )
    assert 0.2 < asyncio.get_running_loop().time() - began


@pytest.mark.parametrize(
    ("path", "words"),
    [("resolve/main/nonesuch.gguf", "HTTP 404"), ("resolve/nonesuch/model.gguf", "HTTP 404")],
)
async def test_what_is_not_there_is_not_asked_for_twice(path, words, hub, client, tmp_path):
    file = replace(offered(hub), url=f"{hub.url}/org/repo/{path}")
    with pytest.raises(DownloadError, match=words):
        await fetch(file, tmp_path / "model", client=client, limits=HURRIED)
    assert len(hub.seen) == 1
    assert leftovers(tmp_path / "model") == ["served"]


async def test_a_gated_file_says_what_to_do(hub, client, tmp_path):
    hub.gated.add("org/repo")
    with pytest.raises(DownloadError, match="HTTP 401") as caught:
        await fetch(offered(hub), tmp_path / "model", client=client, limits=HURRIED)
    assert "oprel hf login" in caught.value.resolution_steps[0]


async def test_a_file_of_another_size_is_refused(hub, client, tmp_path):
    with pytest.raises(DownloadError, match=f"has {SIZE} bytes"):
        await fetch(replace(offered(hub), size_bytes=SIZE + 1), tmp_path / "m", client=client, limits=HURRIED)


async def test_a_disk_without_room_says_what_is_needed_before_a_byte_is_fetched(hub, client, tmp_path):
    with pytest.raises(DiskFullError, match=r"not enough space for model.gguf: it needs 10 TB") as caught:
        await fetch(replace(offered(hub), size_bytes=10 * 10**12), tmp_path / "m", client=client, limits=HURRIED)
    assert "are free" in caught.value.message
    assert not hub.seen


async def test_a_file_in_xet_storage_only_is_read_by_the_hubs_own_library_and_resumed_as_any_other(
    hub: HubServer, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    hub.in_xet_only.add("org/repo")
    target = tmp_path / "model.gguf"
    with anyio.CancelScope() as scope:

        def leave(progress: Progress) -> None:
            if progress.done_bytes > SIZE * 3 // 4:  # the rest, and what was on its way, is less
                scope.cancel()

        await fetch(offered(hub), target, client=client, progress=leave, limits=HURRIED)
    assert leftovers(target) == ["model.gguf.part", "model.gguf.part.json", "served"]
    before, hub.sent["/xet/model.gguf"] = hub.sent["/xet/model.gguf"], 0
    await fetch(offered(hub), target, client=client, limits=HURRIED)
    assert target.read_bytes() == content(hub)
    assert leftovers(target) == ["served"]
    assert hub.sent["/xet/model.gguf"] < before


async def test_xet_storage_that_takes_no_token_is_told_of(
    hub: HubServer, client: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.in_xet_only.add("org/repo")
    monkeypatch.setattr(xet_store, "TOKEN", "xet_old")
    with pytest.raises(DownloadError, match="Xet storage"):
        await fetch(offered(hub), tmp_path / "model.gguf", client=client, limits=HURRIED)
    assert leftovers(tmp_path / "model.gguf") == ["served"]


@pytest.mark.parametrize("sparse", [True, False])
async def test_without_sparse_files_a_file_grows_from_its_start(
    hub: HubServer, client: httpx.AsyncClient, tmp_path: Path, sparse: bool
):
    target = tmp_path / "new" / "m.gguf"
    sizes: list[int] = []

    def note(progress: Progress) -> None:
        if (part := part_of(target)).exists():
            sizes.append(part.stat().st_size)

    await fetch(offered(hub), target, client=client, progress=note, limits=replace(HURRIED, sparse=sparse))
    assert target.read_bytes() == content(hub) and leftovers(target) == []
    assert (sizes[0] == SIZE) is sparse and sizes == sorted(sizes)


async def test_a_download_without_sparse_files_is_continued(hub: HubServer, client: httpx.AsyncClient, tmp_path: Path):
    target, limits = tmp_path / "new" / "m.gguf", replace(HURRIED, sparse=False)

    def stop_half_way(progress: Progress) -> None:
        if progress.done_bytes > SIZE / 2:
            raise KeyError

    with pytest.raises(KeyError):
        await fetch(offered(hub), target, client=client, progress=stop_half_way, limits=limits)
    await fetch(offered(hub), target, client=client, limits=limits)
    assert target.read_bytes() == content(hub)
    assert sum(hub.sent.values()) < 1.5 * SIZE
