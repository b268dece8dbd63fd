"""What registries may say, and what is made of it; test_registry.py of the integration tests talks to a real one."""

import hashlib
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl

import httpx
import pytest

from oprel.core.exceptions import DownloadError, InvalidModelError, ModelNotFoundError, OprelError, UnsupportedError
from oprel.core.names import RegistryOrigin
from oprel.downloader.backoff import Unreachable
from oprel.downloader.network import retries
from oprel.downloader.registry.client import Access, Registry
from oprel.downloader.registry.pull import Registries, manifest
from oprel.formats.ollama_manifest import LAYER_TYPE, LONGEST_TEXT

HOST = "box.example"
ORIGIN = RegistryOrigin(host=HOST, namespace="team", model="tiny", tag="v1")
REALM = "https://tokens.example/token"
WEIGHTS = "sha256:" + "a" * 64
Answer = Callable[[httpx.Request], httpx.Response]


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def layer(kind: str, digest: str, size: int) -> dict[str, object]:
    return {"mediaType": f"{LAYER_TYPE}{kind}", "digest": digest, "size": size}


@dataclass
class FakeRegistry:
    """A registry as far as one model's download goes. `changed` are answers in place of its own, by a path's end."""

    layers: list[dict[str, object]] = field(default_factory=lambda: [layer("model", WEIGHTS, 7)])
    blobs: dict[str, bytes] = field(default_factory=dict)
    token: str = ""
    seen: list[httpx.Request] = field(default_factory=list)
    changed: dict[str, Answer] = field(default_factory=dict)

    def add(self, kind: str, content: bytes) -> None:
        self.blobs[digest_of(content)] = content
        self.layers.append(layer(kind, digest_of(content), len(content)))

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        path = request.url.path
        if answer := next((one for end, one in self.changed.items() if path.endswith(end)), None):
            return answer(request)
        if str(request.url).startswith(REALM):
            return httpx.Response(200, json={"token": self.token})
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            challenge = f'Bearer realm="{REALM}",service="box",scope="repository:team/tiny:pull"'
            return httpx.Response(401, headers={"WWW-Authenticate": challenge})
        if path == "/v2/team/tiny/manifests/v1":
            return httpx.Response(200, json={"schemaVersion": 2, "layers": self.layers})
        content = self.blobs.get(path.rpartition("/")[2])
        return httpx.Response(404) if content is None else httpx.Response(200, content=content)

    @property
    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self))


async def test_files_are_told_and_texts_are_here():
    registry = FakeRegistry()
    for kind, content in {"template": b"{{ .Prompt }}", "system": b"Be kind.", "params": b'{"top_k": 5}'}.items():
        registry.add(kind, content)
    registry.layers.append(layer("projector", "sha256:" + "b" * 64, 3))
    found = await manifest(ORIGIN, registry.client)
    assert [(file.name, file.size_bytes, file.sha256) for file in found.files] == [
        ("sha256-" + "a" * 64, 7, "a" * 64),
        ("sha256-" + "b" * 64, 3, "b" * 64),
    ]
    assert found.weights[0].url == f"https://{HOST}/v2/team/tiny/blobs/{WEIGHTS}"
    assert (found.texts.template, found.texts.system) == ("{{ .Prompt }}", "Be kind.")
    assert found.texts.parameters == {"top_k": 5}


async def test_an_offer_is_for_the_folder_of_blobs(tmp_path: Path):
    offer = await Registries(FakeRegistry().client, tmp_path, Access()).offer(ORIGIN)
    assert [target.destination for target in offer.targets] == [tmp_path / ("sha256-" + "a" * 64)]
    made = offer.manifest("tiny:v1")
    assert (made.weights, made.source) == (tmp_path / ("sha256-" + "a" * 64), f"{HOST}/team/tiny:v1")


async def test_a_token_is_fetched_where_the_registry_says_and_goes_nowhere_else():
    registry = FakeRegistry(token="secret")
    found = await manifest(ORIGIN, registry.client)
    asked = [request for request in registry.seen if str(request.url).startswith(REALM)]
    assert dict(asked[0].url.params) == {"service": "box", "scope": "repository:team/tiny:pull"}
    assert "authorization" not in asked[0].headers
    assert found.weights[0].headers == {"Authorization": "Bearer secret"}


@pytest.mark.parametrize(
    "challenge",
    [
        f"Bearer realm={REALM},service=box",
        f'Basic realm="box, of all", Bearer realm="{REALM}", service="box"',
        f'bearer realm="{REALM}" , service="box", Basic realm="box"',
        f'Negotiate, Bearer realm="{REALM}",service="box"',
    ],
)
async def test_a_challenge_is_read_in_each_form(challenge: str):
    registry = FakeRegistry(token="secret")
    denied = [httpx.Response(401, headers={"WWW-Authenticate": challenge})]
    registry.changed["manifests/v1"] = lambda request: (
        denied.pop() if denied else httpx.Response(200, json={"schemaVersion": 2, "layers": registry.layers})
    )
    found = await manifest(ORIGIN, registry.client)
    assert found.weights[0].headers == {"Authorization": "Bearer secret"}
    assert [request.url.params["service"] for request in registry.seen if request.url.path == "/token"] == ["box"]


async def test_an_identity_token_is_exchanged_for_one_of_the_repository(tmp_path: Path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"auths": {HOST: {"auth": "MDo=", "identitytoken": "long"}}}))
    registry = FakeRegistry(token="secret")
    found = await manifest(ORIGIN, registry.client, Access(login_files=(file,)))
    assert found.weights[0].headers == {"Authorization": "Bearer secret"}
    sent = [request for request in registry.seen if str(request.url).startswith(REALM)]
    assert [request.method for request in sent] == ["POST"]
    form = dict(parse_qsl(sent[0].content.decode()))
    assert (form["refresh_token"], form["grant_type"]) == ("long", "refresh_token")
    assert (form["service"], form["scope"]) == ("box", "repository:team/tiny:pull")


async def test_a_token_is_for_all_repositories_of_the_challenge():
    registry = FakeRegistry(token="secret")
    scope = "repository:team/tiny:pull,push repository:team/base:pull"
    challenge = f'Bearer realm="{REALM}",service="box",scope="{scope}"'
    denied = [httpx.Response(401, headers={"WWW-Authenticate": challenge})]
    registry.changed["uploads/"] = lambda request: denied.pop() if denied else httpx.Response(201)
    client = Registry(ORIGIN, registry.client)
    assert (await client.ask("POST", client.url("blobs/uploads/"))).is_success
    assert [request.url.params.get_list("scope") for request in registry.seen if request.url.path == "/token"] == [
        scope.split()
    ]


async def test_a_blob_that_lies_elsewhere_is_fetched_without_the_token():
    registry = FakeRegistry(token="secret")
    registry.add("system", b"Be kind.")
    away = {"Location": f"https://store.example/{digest_of(b'Be kind.')}"}
    registry.changed[f"blobs/{digest_of(b'Be kind.')}"] = lambda request: httpx.Response(307, headers=away)
    registry.changed[f"/{digest_of(b'Be kind.')}"] = lambda request: httpx.Response(200, content=b"Be kind.")
    assert (await manifest(ORIGIN, registry.client)).texts.system == "Be kind."
    there = [request for request in registry.seen if request.url.host == "store.example"]
    assert there and "authorization" not in there[0].headers


@pytest.mark.parametrize(
    "challenge",
    ["", "Negotiate", "Bearer", 'Bearer realm="http://tokens.example/token"', 'Bearer realm="::"', 'Basic realm="x"'],
)
async def test_a_registry_that_wants_what_we_have_not_is_told(challenge: str):
    registry = FakeRegistry()
    registry.changed["v1"] = lambda request: httpx.Response(401, headers={"WWW-Authenticate": challenge})
    with pytest.raises(DownloadError, match="refuses access|without encryption|name its token server"):
        await manifest(ORIGIN, registry.client)


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"token": ""}', b"[" * 10_000])
async def test_a_token_that_is_none_is_told(answer: bytes):
    registry = FakeRegistry(token="secret")
    registry.changed["/token"] = lambda request: httpx.Response(200, content=answer)
    with pytest.raises(DownloadError, match="refuses access to team/tiny"):
        await manifest(ORIGIN, registry.client)


async def test_a_model_that_is_not_there_is_told():
    registry = FakeRegistry()
    registry.changed["v1"] = lambda request: httpx.Response(404)
    with pytest.raises(ModelNotFoundError, match="the registry box.example has no team/tiny:v1"):
        await manifest(ORIGIN, registry.client)


def truncated(request: httpx.Request) -> httpx.Response:
    raise httpx.RemoteProtocolError("peer closed connection")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda request: httpx.Response(500), DownloadError),
        (lambda request: httpx.Response(200, content=b"<html>"), InvalidModelError),
        (lambda request: httpx.Response(200, content=b"{}"), InvalidModelError),
        (lambda request: httpx.Response(200, content=b" " * (LONGEST_TEXT + 1)), DownloadError),
        (lambda request: httpx.Response(302, headers={"Location": str(request.url)}), DownloadError),
        (truncated, DownloadError),
    ],
    ids=["fault", "page", "nothing", "endless", "circle", "broken"],
)
async def test_a_manifest_that_is_none_is_told(
    answer: Answer, error: type[OprelError], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.001)
    registry = FakeRegistry()
    registry.changed["v1"] = answer
    with pytest.raises(error):
        await manifest(ORIGIN, registry.client)


def unresolved(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("[Errno -2] Name or service not known") from socket.gaierror(socket.EAI_NONAME, "")


@pytest.mark.parametrize("question", ["v1", "/token"])
async def test_a_question_is_asked_again_while_a_registry_is_busy(question: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.001)
    registry, troubles = FakeRegistry(token="secret"), [429, 0, 503]

    def busy(request: httpx.Request) -> httpx.Response:
        if not troubles:
            del registry.changed[question]
            return registry(request)
        status = troubles.pop()
        return httpx.Response(status, headers={"Retry-After": "0"}) if status else truncated(request)

    registry.changed[question] = busy
    assert (await manifest(ORIGIN, registry.client)).weights[0].size_bytes == 7


async def test_a_long_wait_that_a_registry_asks_for_is_told():
    registry = FakeRegistry()
    registry.changed["v1"] = lambda request: httpx.Response(429, headers={"Retry-After": "90"})
    with pytest.raises(Unreachable, match="answered HTTP 429 for team/tiny and asks to wait 90 s") as caught:
        await manifest(ORIGIN, registry.client)
    assert (caught.value.seconds, len(registry.seen)) == (90.0, 1)


async def test_a_host_that_is_not_found_is_told_without_advice_on_encryption():
    registry = FakeRegistry()
    registry.changed["v1"] = unresolved
    with pytest.raises(DownloadError, match=f"(?m){HOST} cannot be reached: the host name is unknown$") as caught:
        await manifest(ORIGIN, registry.client)
    assert caught.value.resolution_steps == (
        "Check the name and the network. `oprel list` shows the installed models.",
    )


@pytest.mark.parametrize(
    "digest",
    [
        "sha256:../../etc/passwd",
        "../../etc/passwd",
        "/etc/passwd",
        "sha256:" + "a" * 63,
        "sha256:" + "A" * 64,
        "md5:" + "a" * 64,
        "sha256:" + "a" * 10_000,
        "sha256:" + "a" * 63 + "\0",
        "sha256:" + "a" * 64 + "\n",
        None,
        7,
    ],
    ids=lambda digest: repr(digest)[:24],
)
async def test_a_digest_that_is_none_is_refused(digest: object):
    registry = FakeRegistry([layer("model", WEIGHTS, 7) | {"digest": digest}])
    with pytest.raises(InvalidModelError, match="a layer has no usable digest and size"):
        await manifest(ORIGIN, registry.client)


@pytest.mark.parametrize("size", [-1, "7", None, 1.5])
async def test_a_size_that_is_none_is_refused(size: object):
    registry = FakeRegistry([layer("model", WEIGHTS, 7) | {"size": size}])
    with pytest.raises(InvalidModelError):
        await manifest(ORIGIN, registry.client)


async def test_a_text_that_is_another_one_is_refused():
    registry = FakeRegistry()
    registry.add("system", b"Be kind.")
    registry.blobs = dict.fromkeys(registry.blobs, b"Be evil.")
    with pytest.raises(DownloadError, match="sent a system of team/tiny with a wrong digest"):
        await manifest(ORIGIN, registry.client)


async def test_a_text_that_is_none_by_its_size_is_not_fetched():
    registry = FakeRegistry()
    registry.layers.append(layer("system", "sha256:" + "c" * 64, LONGEST_TEXT + 1))
    with pytest.raises(DownloadError, match="bytes"):
        await manifest(ORIGIN, registry.client)


async def test_a_model_of_other_files_is_not_for_us():
    with pytest.raises(UnsupportedError, match="does not contain a GGUF model"):
        await manifest(ORIGIN, FakeRegistry([layer("tensor", WEIGHTS, 7)]).client)


async def test_docker_s_own_models_are_read_too():
    gguf = {"mediaType": "application/vnd.docker.ai.gguf.v3", "digest": WEIGHTS, "size": 7}
    assert len((await manifest(ORIGIN, FakeRegistry([gguf]).client)).weights) == 1


def model_pack(digest: str, path: str, kind: str = "weight", owner: str = "cncf") -> dict[str, object]:
    annotations = {f"org.{owner}.model.filepath": path}
    return {
        "mediaType": f"application/vnd.{owner}.model.{kind}.v1.raw",
        "digest": digest,
        "size": 7,
        "annotations": annotations,
    }


@pytest.mark.parametrize("owner", ["cncf", "cnai"])
async def test_a_model_pack_is_read_by_the_names_of_its_files(owner: str):
    registry = FakeRegistry([])
    registry.add("license", b"MIT")
    license = {**model_pack(digest_of(b"MIT"), "LICENSE", "doc", owner), "size": 3}
    registry.layers = [
        model_pack("sha256:" + "c" * 64, "README.md", "doc", owner),
        model_pack(WEIGHTS, "tiny-Q8_0.gguf", owner=owner),
        model_pack("sha256:" + "b" * 64, "mmproj-tiny-F16.gguf", owner=owner),
        model_pack("sha256:" + "d" * 64, "tokenizer.json", owner=owner),
        license,
    ]
    found = await manifest(ORIGIN, registry.client)
    assert [file.sha256 for file in found.files] == ["a" * 64, "b" * 64]
    assert found.texts.license == "MIT"


async def test_of_an_index_the_first_manifest_with_a_model_is_taken():
    other, model = (
        json.dumps({"layers": [entry]}).encode()
        for entry in (model_pack("sha256:" + "c" * 64, "model.safetensors"), layer("model", WEIGHTS, 7))
    )
    entries = [{"mediaType": "x", "digest": digest_of(content), "size": len(content)} for content in (other, model)]
    registry = FakeRegistry()
    registry.changed["/manifests/v1"] = lambda request: httpx.Response(200, json={"manifests": entries})
    registry.blobs = {digest_of(content): content for content in (other, model)}
    assert [file.sha256 for file in (await manifest(ORIGIN, registry.client)).weights] == ["a" * 64]
    registry.blobs[digest_of(model)] = other
    with pytest.raises(DownloadError, match="wrong digest"):
        await manifest(ORIGIN, registry.client)


@pytest.mark.parametrize(
    ("host", "access", "base"),
    [
        (HOST, Access(), f"https://{HOST}/v2/team/tiny/"),
        (HOST, Access(insecure=frozenset([HOST])), f"http://{HOST}/v2/team/tiny/"),
        ("localhost:5000", Access(), "http://localhost:5000/v2/team/tiny/"),
        ("127.0.0.1:5000", Access(), "http://127.0.0.1:5000/v2/team/tiny/"),
        ("127.0.0.1.example", Access(), "https://127.0.0.1.example/v2/team/tiny/"),
        ("docker.io", Access(), "https://registry-1.docker.io/v2/team/tiny/"),
        ("registry.ollama.ai", Access("https://mirror.example/"), "https://mirror.example/v2/team/tiny/"),
    ],
)
def test_a_registry_is_spoken_to_over_https_but_on_this_machine(host: str, access: Access, base: str):
    assert str(access.base(RegistryOrigin(host=host, namespace="team", model="tiny"))) == base


async def test_who_calls_a_registry_insecure_has_all_of_a_model_over_http():
    registry = FakeRegistry()
    registry.add("system", b"Be kind.")
    found = await manifest(replace(ORIGIN, insecure=True), registry.client)
    assert {request.url.scheme for request in registry.seen} == {"http"}
    assert found.weights[0].url.startswith(f"http://{HOST}/")


async def test_a_manifest_is_not_followed_out_of_the_encryption():
    registry = FakeRegistry()
    registry.changed["manifests/v1"] = lambda request: httpx.Response(
        302, headers={"Location": "http://box.example/v2/x"}
    )
    with pytest.raises(DownloadError, match="without encryption"):
        await manifest(ORIGIN, registry.client)
