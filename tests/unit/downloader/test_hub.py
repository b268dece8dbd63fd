"""The hub as its own library sees it, on a server of ours."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from oprel.core.exceptions import DownloadError, ModelNotFoundError, UnsupportedError, ValidationError
from oprel.core.names import HubOrigin, UrlOrigin
from oprel.downloader.backoff import Unreachable
from oprel.downloader.cache import HubCache
from oprel.downloader.hub import Hub
from oprel.downloader.network import retries
from oprel.downloader.source import RemoteFile
from oprel.downloader.transfer.digest import check_git_hash
from oprel.downloader.url import Urls
from oprel.formats.hugging_face.safetensors import read_safetensors
from tests.conftest import NOWHERE
from tests.fixtures.hf_llama import write_tiny_llama
from tests.fixtures.hub_server import TOKEN, HubServer

FILES = ("m-Q4_K_M.gguf", "m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf", "mmproj-m-f16.gguf", "a.json")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HubServer]:
    for name in ("org/model", "org/plain"):
        (tmp_path / "served" / name).mkdir(parents=True)
    for number, name in enumerate(FILES):
        (tmp_path / "served/org/model" / name).write_bytes(bytes(number + 1))
    (tmp_path / "served/org/plain/model.safetensors").write_bytes(b"x")
    with HubServer(tmp_path / "served").running() as running:
        yield running


@pytest.fixture
def hub(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "tokens" / "token"))
    return Hub(server.url, HubCache(tmp_path / "cache"), seconds=5.0)


async def test_a_variant_comes_with_all_its_parts_and_a_projector(hub: Hub, server: HubServer):
    offer = await hub.offer(HubOrigin("org/model", quant="Q8_0"))
    assert [target.file.name for target in offer.targets] == [*FILES[1:3], "mmproj-m-f16.gguf"]
    for target in offer.targets:
        assert target.destination.name == target.file.sha256 == server.repository("org/model").oid(target.file.name)
        assert target.file.size_bytes == (server.folder / "org/model" / target.file.name).stat().st_size
    assert (offer.title, offer.size_bytes) == ("org/model Q8_0", 2 + 3 + 4)


async def test_a_listing_is_asked_for_again_while_the_hub_is_busy_or_the_connection_breaks(
    hub: Hub, server: HubServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.001)
    server.troubles = [429, 0, 502]
    assert (await hub.offer(HubOrigin("org/model", quant="Q4_K_M"))).title == "org/model Q4_K_M"
    server.troubles = [503] * retries.TRIES
    with pytest.raises(Unreachable, match="answered HTTP 503") as caught:
        await hub.offer(HubOrigin("org/model"))
    assert caught.value.is_momentary and not server.troubles


async def test_a_mirror_that_lists_names_only_is_asked_for_sizes_and_hashes(hub: Hub, server: HubServer):
    told = await hub.offer(HubOrigin("org/model", quant="Q8_0"))
    server.names_only.add("org/model")
    server.seen.clear()
    assert (await hub.offer(HubOrigin("org/model", quant="Q8_0"))).targets == told.targets
    assert not any(line.endswith("a.json") for line in server.seen)  # not a file of this model


async def test_a_file_that_a_mirror_lists_but_does_not_have_leaves_the_others(hub: Hub, server: HubServer):
    server.names_only.add("org/model")
    server.tricks["org/model"] = "zz-Q2_K.gguf"  # takes the place of the projector
    assert (await hub.offer(HubOrigin("org/model", quant="Q4_K_M"))).title == "org/model Q4_K_M"
    with pytest.raises(ModelNotFoundError, match="has no Q2_K"):
        await hub.offer(HubOrigin("org/model", quant="Q2_K"))


async def test_a_file_that_nobody_told_a_hash_of_is_stored_by_its_etag(hub: Hub, server: HubServer, tmp_path: Path):
    write_tiny_llama(server.folder / "org/llama")
    server.names_only.add("org/llama")
    folder = Hub(server.url, HubCache(tmp_path / "cache"), serves_folders=lambda: True)
    offer = await folder.offer(HubOrigin("org/llama"))
    for target in offer.targets:
        target.destination.parent.mkdir(parents=True, exist_ok=True)
        target.destination.write_bytes((server.folder / "org/llama" / target.file.name).read_bytes())
    manifest = offer.manifest("llama")
    assert all(path.is_file() for path in manifest.parts)
    assert {target.file.name for target in offer.targets if not target.file.sha256} >= {"config.json"}


async def test_a_plan_of_a_repository_counts_its_projector(hub: Hub):
    repository = await hub.repository(HubOrigin("org/model"))
    assert repository and repository.projector_bytes == 4


async def test_a_skeleton_is_as_large_as_the_model_and_has_its_headers_and_no_weights(
    hub: Hub, server: HubServer, tmp_path: Path
):
    write_tiny_llama(server.folder / "org/llama")
    with (server.folder / "org/llama/model.safetensors").open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(b"weights!")
    found = await hub.skeleton(HubOrigin("org/llama"), tmp_path / "bones")
    assert found == tmp_path / "bones/org/llama"
    assert read_safetensors(found / "model.safetensors").tensors
    whole = (server.folder / "org/llama/model.safetensors").read_bytes()
    bones = (found / "model.safetensors").read_bytes()
    assert len(bones) == len(whole) and whole.endswith(b"weights!") and bones.endswith(bytes(8))
    assert (found / "tokenizer.json").read_bytes() == (server.folder / "org/llama/tokenizer.json").read_bytes()


async def test_a_file_may_be_named_instead_of_a_quant(hub: Hub):
    offer = await hub.offer(HubOrigin("org/model", file=FILES[0]))
    assert offer.targets[0].file.name == FILES[0]


@pytest.mark.parametrize(
    ("origin", "error", "words"),
    [
        (HubOrigin("org/nonesuch"), ModelNotFoundError, "there is no repository org/nonesuch"),
        (HubOrigin("org/plain"), UnsupportedError, "org/plain has only safetensors, no GGUF files"),
        (HubOrigin("org/model", quant="Q2_K"), ModelNotFoundError, "org/model has no Q2_K"),
        (HubOrigin("org/model", file="other.gguf"), ModelNotFoundError, "has no model other.gguf"),
    ],
)
async def test_what_is_not_there_is_told(hub: Hub, origin: HubOrigin, error: type[Exception], words: str):
    with pytest.raises(error, match=words):
        await hub.offer(origin)


async def test_a_hub_that_cannot_be_reached_is_told(tmp_path: Path):
    with pytest.raises(DownloadError, match=f"{NOWHERE} cannot be reached: Connection refused") as caught:
        await Hub(NOWHERE, HubCache(tmp_path)).offer(HubOrigin("org/model"))
    assert "`oprel restart`" in caught.value.resolution_steps[1]  # whose environment it is that counts


async def test_a_search_is_by_words_and_bounded(hub: Hub):
    assert [found.repository for found in await hub.search("mod", 10)] == ["org/model"]
    assert len(await hub.search("", 1)) == 1


def test_a_login_is_kept_for_the_user_alone_when_the_hub_knows_the_token(hub: Hub, tmp_path: Path):
    with pytest.raises(ValidationError, match="rejects the token"):
        hub.login("hf_bad")
    assert not (tmp_path / "tokens").exists()
    assert hub.login(TOKEN) == "tester"
    assert (tmp_path / "tokens" / "token").stat().st_mode & 0o077 == 0
    assert hub.whoami() == "tester"


def test_who_is_not_logged_in_is_told_how_to(hub: Hub):
    with pytest.raises(ValidationError, match="not logged in to Hugging Face"):
        hub.whoami()


async def test_a_token_goes_along_with_each_file(hub: Hub):
    hub.login(TOKEN)
    offer = await hub.offer(HubOrigin("org/model"))
    assert offer.targets[0].file.headers == {"Authorization": f"Bearer {TOKEN}"}


def test_a_small_file_that_came_over_wrong_is_thrown_away(tmp_path: Path):
    path = tmp_path / "config.json"
    path.write_bytes(b"{}")
    check_git_hash(
        path, RemoteFile(name="config.json", url="", size_bytes=2, etag="9e26dfeeb6e641a33dae4961196235bdb965b21b")
    )
    with pytest.raises(DownloadError, match="digest mismatch for config.json"):
        check_git_hash(path, RemoteFile(name="config.json", url="", size_bytes=2, etag="0" * 40))
    assert not path.exists()


async def test_of_a_url_the_other_parts_are_found(server: HubServer, tmp_path: Path):
    url = f"{server.url}/org/model/resolve/main/{FILES[2]}?download=true"
    async with httpx.AsyncClient(trust_env=False) as client:
        offer = await Urls(client, tmp_path).offer(UrlOrigin(url.removesuffix("?download=true")))
        whole = await Urls(client, tmp_path).offer(UrlOrigin(f"{server.url}/org/model/resolve/main/{FILES[0]}?a=b"))
    assert [target.file.name for target in offer.targets] == [*FILES[1:3]]
    assert offer.targets[0].file.sha256 == server.repository("org/model").oid(FILES[1])
    assert whole.targets[0].file.name == FILES[0]


async def test_a_url_of_nothing_is_told(server: HubServer, tmp_path: Path):
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(DownloadError, match="cannot download x.gguf from 127.0.0.1"):
            await Urls(client, tmp_path).offer(UrlOrigin(f"{server.url}/org/model/resolve/main/x.gguf"))


async def test_a_url_of_a_web_page_is_told(tmp_path: Path):
    page = httpx.MockTransport(lambda request: httpx.Response(200, html="<p>A model"))
    async with httpx.AsyncClient(transport=page) as client:
        with pytest.raises(UnsupportedError, match="(?m)^https://host/models is a web page, not a model$"):
            await Urls(client, tmp_path).offer(UrlOrigin("https://host/models"))


async def test_a_url_of_an_empty_file_is_told(server: HubServer, tmp_path: Path):
    (server.folder / "org/model/empty.gguf").touch()
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(UnsupportedError, match="empty.gguf at 127.0.0.1 is empty"):
            await Urls(client, tmp_path).offer(UrlOrigin(f"{server.url}/cdn/org/model/empty.gguf"))


async def test_a_server_that_cannot_be_reached_is_asked_a_few_times(tmp_path: Path):
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(DownloadError, match="127.0.0.1: cannot be reached"):
            await Urls(client, tmp_path, first_wait=0.001).offer(UrlOrigin(f"{NOWHERE}/x.gguf"))
