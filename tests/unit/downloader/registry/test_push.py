"""How a blob gets into a registry, whatever the registry and what stands before it do."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from oprel.core.exceptions import DownloadError, OprelError
from oprel.core.names import RegistryOrigin
from oprel.downloader.backoff import Unreachable
from oprel.downloader.network import retries
from oprel.downloader.registry import uploads
from oprel.downloader.registry.client import Registry
from oprel.downloader.registry.push import push
from oprel.downloader.registry.uploads import Blob, Pushed
from oprel.formats.ollama_manifest import LAYER_TYPE, Layer

HOST = "box.example"
ORIGIN = RegistryOrigin(host=HOST, namespace="team", model="tiny", tag="v1")
PLACE = "/v2/team/tiny/blobs/uploads/1?state=x"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class TakingRegistry:
    """A registry that takes blobs, and breaks every request to it whose number is in `breaks`.

    `statuses` are its first answers to each method and the end of the path, in place of its own. It takes parts of at
    most `largest` bytes, none if that is 0, and has blobs in `others`, repositories beside this one.
    """

    breaks: frozenset[int] = frozenset()
    known: set[str] = field(default_factory=set)
    taken: bytearray = field(default_factory=bytearray)
    manifests: list[bytes] = field(default_factory=list)
    forgets: bool = False
    silent: int = 0  # times that it does not even say how far an upload is
    patches: int = 0
    largest: int = 100
    place: str = PLACE
    statuses: dict[tuple[str, str], list[httpx.Response]] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        for (method, end), waiting in self.statuses.items():
            if method == request.method and request.url.path.endswith(end) and waiting:
                return waiting.pop(0)
        return self._answer(request)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        here = {"Location": self.place}
        match request.method, request.url.path:
            case "HEAD", path:
                return httpx.Response(200 if path.rpartition("/")[2] in self.known else 404)
            case "POST", _:
                query = request.url.params
                if "mount" in query and self.others.get(query["from"]) == query["mount"]:
                    return httpx.Response(201)
                self.taken.clear()
                return httpx.Response(202, headers=here)
            case "PATCH", _:
                return self._patch(request, here)
            case "GET", _ if self.silent:
                self.silent -= 1
                raise httpx.ConnectError("no route to host")
            case "GET", _ if self.forgets:
                return httpx.Response(404)
            case "GET", _:
                return httpx.Response(204, headers={**here, "Range": f"0-{max(0, len(self.taken) - 1)}"})
            case "PUT", path if "manifests" in path:
                self.manifests.append(request.content)
                return httpx.Response(201)
        self.taken += request.content
        good = digest_of(bytes(self.taken)) == request.url.params["digest"]
        return httpx.Response(201 if good else 400, json={"errors": [{"message": "digest invalid"}]})

    def _patch(self, request: httpx.Request, here: dict[str, str]) -> httpx.Response:
        self.patches += 1
        assert int(request.headers["content-range"].partition("-")[0]) == len(self.taken)
        if self.patches in self.breaks:
            self.taken += request.content[:2]  # a part of it has arrived
            raise httpx.WriteError("broken pipe")
        if len(request.content) > self.largest:
            return httpx.Response(413 if self.largest else 405)
        self.taken += request.content
        return httpx.Response(202, headers=here)


CONTENT = bytes(range(25))


async def pushed(
    registry: TakingRegistry, monkeypatch: pytest.MonkeyPatch, content: bytes | Path = CONTENT, other: str = ""
) -> list[Pushed]:
    monkeypatch.setattr(uploads, "CHUNK_BYTES", 10)
    monkeypatch.setattr(uploads, "SMALLEST_CHUNK", 2)
    monkeypatch.setattr(uploads, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.0)
    size = len(CONTENT)
    config = Blob(Layer("config", digest_of(b"{}"), 2), b"{}")
    client = httpx.AsyncClient(transport=httpx.MockTransport(registry))
    blob = Blob(Layer(f"{LAYER_TYPE}model", digest_of(CONTENT), size), content)
    registry.known.add(config.layer.digest)
    return [step async for step in push(Registry(ORIGIN, client), config, [blob], other)]


@pytest.mark.parametrize("breaks", [frozenset(), frozenset([1]), frozenset([2]), frozenset([1, 2, 3, 4])], ids=str)
async def test_a_blob_survives_connections_that_break(monkeypatch: pytest.MonkeyPatch, breaks: frozenset[int]):
    registry = TakingRegistry(breaks)
    steps = await pushed(registry, monkeypatch)
    assert bytes(registry.taken) == CONTENT and len(registry.manifests) == 1
    assert max(step.done_bytes for step in steps) == len(CONTENT)


async def test_an_upload_that_the_registry_forgot_begins_again(monkeypatch: pytest.MonkeyPatch):
    registry = TakingRegistry(frozenset([2]), forgets=True)
    await pushed(registry, monkeypatch)
    assert bytes(registry.taken) == CONTENT


async def test_a_registry_that_is_away_for_a_while_is_waited_for(monkeypatch: pytest.MonkeyPatch):
    registry = TakingRegistry(frozenset([2]), silent=2)
    await pushed(registry, monkeypatch)
    assert bytes(registry.taken) == CONTENT


async def test_a_connection_that_keeps_breaking_ends_the_push(monkeypatch: pytest.MonkeyPatch):
    registry = TakingRegistry(frozenset(range(100)), forgets=True)
    with pytest.raises(DownloadError, match="broken pipe"):
        await pushed(registry, monkeypatch)
    assert registry.manifests == [] and registry.patches == uploads.TRIES


async def test_a_file_that_is_not_what_it_was_ends_the_push(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    path = tmp_path / "m.gguf"
    path.write_bytes(CONTENT[:12])
    with pytest.raises(OprelError, match="was truncated"):
        await pushed(TakingRegistry(), monkeypatch, path)
    path.write_bytes(CONTENT[::-1])
    with pytest.raises(DownloadError, match="digest invalid"):
        await pushed(TakingRegistry(), monkeypatch, path)


async def test_what_is_there_is_not_sent(monkeypatch: pytest.MonkeyPatch):
    registry = TakingRegistry(known={digest_of(CONTENT)})
    await pushed(registry, monkeypatch)
    assert registry.patches == 0 and len(registry.manifests) == 1


BUSY = {"Retry-After": "0"}


@pytest.mark.parametrize(
    "step",
    [("HEAD", digest_of(CONTENT)), ("POST", "uploads/"), ("PATCH", "uploads/1"), ("PUT", "uploads/1")]
    + [("PUT", "manifests/v1")],
    ids=lambda step: f"{step[0]} {step[1][:10]}",
)
@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_busy_registry_is_waited_for_at_each_step(
    monkeypatch: pytest.MonkeyPatch, step: tuple[str, str], status: int
):
    registry = TakingRegistry(statuses={step: [httpx.Response(status, headers=BUSY) for _ in range(2)]})
    await pushed(registry, monkeypatch)
    assert bytes(registry.taken) == CONTENT and len(registry.manifests) == 1
    assert registry.statuses == {step: []}


async def test_why_an_upload_waits_is_a_step_of_it(monkeypatch: pytest.MonkeyPatch):
    steps = await pushed(TakingRegistry(frozenset([2])), monkeypatch)
    assert [step.waiting for step in steps if step.waiting] == [
        "the registry box.example cannot be reached: broken pipe"
    ]


async def test_a_registry_that_asks_for_too_long_a_wait_ends_the_push(monkeypatch: pytest.MonkeyPatch):
    registry = TakingRegistry(statuses={("PATCH", "/1"): [httpx.Response(429, headers={"Retry-After": "86400"})]})
    with pytest.raises(Unreachable, match="asks to wait 86400 s"):
        await pushed(registry, monkeypatch)


async def test_a_refusal_is_not_repeated_and_has_the_registry_s_words(monkeypatch: pytest.MonkeyPatch):
    full = httpx.Response(403, json={"errors": [{"message": "quota exceeded"}]})
    registry = TakingRegistry(statuses={("PATCH", "/1"): [full] * 9})
    with pytest.raises(DownloadError, match=r"HTTP 403: quota exceeded"):
        await pushed(registry, monkeypatch)
    assert len(registry.statuses["PATCH", "/1"]) == 8


async def test_a_registry_that_takes_no_parts_gets_the_blob_as_a_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    path = tmp_path / "m.gguf"
    path.write_bytes(CONTENT)
    registry = TakingRegistry(largest=0)
    await pushed(registry, monkeypatch, path)
    assert bytes(registry.taken) == CONTENT and registry.patches == 1


async def test_a_whole_blob_is_sent_again_to_a_registry_that_was_busy(monkeypatch: pytest.MonkeyPatch):
    registry = TakingRegistry(largest=0, statuses={("PUT", "/1"): [httpx.Response(503, headers=BUSY)]})
    steps = await pushed(registry, monkeypatch)
    assert bytes(registry.taken) == CONTENT and any("HTTP 503" in step.waiting for step in steps)


async def test_a_proxy_that_takes_only_small_requests_gets_small_parts(monkeypatch: pytest.MonkeyPatch):
    registry = TakingRegistry(largest=3)
    await pushed(registry, monkeypatch)
    assert bytes(registry.taken) == CONTENT and registry.patches == 1 + 13


async def test_bytes_that_the_registry_lost_are_sent_again(monkeypatch: pytest.MonkeyPatch):
    registry = TakingRegistry(statuses={("PATCH", "/1"): [httpx.Response(416)]})
    await pushed(registry, monkeypatch)
    assert bytes(registry.taken) == CONTENT


async def test_an_upload_whose_end_was_not_answered_is_ended_once(monkeypatch: pytest.MonkeyPatch):
    lost = [httpx.Response(502, headers=BUSY), httpx.Response(404)]
    registry = TakingRegistry(statuses={("PUT", "/1"): lost, ("HEAD", digest_of(CONTENT)): [httpx.Response(404)]})
    registry.known.add(digest_of(CONTENT))  # the second time that it is asked
    await pushed(registry, monkeypatch)
    assert len(registry.manifests) == 1 and lost == []


@pytest.mark.parametrize(("other", "patches"), [("team/base", 0), ("team/else", 3), ("", 3)])
async def test_a_blob_of_a_repository_beside_it_is_not_sent(monkeypatch: pytest.MonkeyPatch, other: str, patches: int):
    registry = TakingRegistry(others={"team/base": digest_of(CONTENT)})
    await pushed(registry, monkeypatch, other=other)
    assert registry.patches == patches and len(registry.manifests) == 1


async def test_a_repository_beside_it_that_may_not_be_read_does_not_matter(monkeypatch: pytest.MonkeyPatch):
    registry = TakingRegistry(statuses={("POST", "uploads/"): [httpx.Response(403)]})
    await pushed(registry, monkeypatch, other="secret/base")
    assert bytes(registry.taken) == CONTENT


async def test_a_registry_behind_a_proxy_may_name_itself_without_encryption(monkeypatch: pytest.MonkeyPatch):
    registry = TakingRegistry(place=f"http://{HOST}:5000{PLACE}")
    seen: list[httpx.URL] = []
    answer = TakingRegistry.__call__

    def watched(self: TakingRegistry, request: httpx.Request) -> httpx.Response:
        seen.append(request.url)
        return answer(self, request)

    monkeypatch.setattr(TakingRegistry, "__call__", watched)
    await pushed(registry, monkeypatch)
    assert {(url.scheme, url.netloc) for url in seen} == {("https", HOST.encode())}


@pytest.mark.parametrize("place", ["https://evil.example/1", f"https://{HOST}:444/1", "http://evil.example/1"])
async def test_an_upload_goes_to_no_other_host(monkeypatch: pytest.MonkeyPatch, place: str):
    with pytest.raises(DownloadError, match="wants the upload to go to"):
        await pushed(TakingRegistry(place=place), monkeypatch)
