"""Models created, copied and deleted in a live daemon, by the official client and on the bytes."""

import hashlib
import json
import os
import socket
import stat
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import ollama
import pytest

from oprel.core.config import Config
from oprel.core.models.blobs import GRACE_SECONDS
from tests.conftest import DEADLINE, NOWHERE, RunningDaemon, alive, eventually, running_daemon, temporary_home
from tests.fixtures.gguf_factory import scalar, text, write_tiny_gguf
from tests.fixtures.gguf_parts import split

SHORT = {"num_predict": 8, "seed": 7, "temperature": 0}


@pytest.fixture(scope="module")
def daemon() -> Iterator[RunningDaemon]:
    """One for tests that each use names of their own."""
    with temporary_home() as home:
        config = Config(home=str(home), server_port=0, ollama_registry=NOWHERE)
        with running_daemon(config) as daemon:
            yield daemon


@pytest.fixture
def http(daemon: RunningDaemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=daemon.url, timeout=DEADLINE, trust_env=False) as http:
        yield http


@pytest.fixture
def client(daemon: RunningDaemon) -> Iterator[ollama.Client]:
    with ollama.Client(daemon.url) as client:
        yield client


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def blob(daemon: RunningDaemon, digest: str) -> Path:
    return daemon.config.models_dir / "blobs" / digest.replace(":", "-")


def own_model(folder: Path, seed: int) -> tuple[Path, str]:
    """A model that no other test has, and its digest."""
    path = write_tiny_gguf(folder / f"own-{seed}.gguf", seed=seed)
    return path, digest_of(path.read_bytes())


def names(client: ollama.Client) -> set[str | None]:
    return {model.model for model in client.list().models}


def test_a_model_made_of_guide_is_shown_and_answers(client: ollama.Client):
    parameters = {"temperature": 0.2, "stop": ["Ahoy"]}
    steps = client.create(
        model="pirate", from_="guide", system="You are a pirate.", parameters=parameters, license="MIT", stream=True
    )
    assert [step.status for step in steps] == ["writing manifest", "success"]
    shown = client.show("pirate")
    assert 'SYSTEM """You are a pirate."""' in (shown.modelfile or "")
    assert (shown.parameters or "").split() == ["stop", '"Ahoy"', "temperature", "0.2"]
    assert shown.license == "MIT"
    reply = client.chat("pirate", [{"role": "user", "content": "hello"}], options=SHORT)
    assert reply.message.role == "assistant" and reply.eval_count


def test_a_system_message_of_the_model_reaches_it(client: ollama.Client):
    client.create(model="loud", from_="guide", system="You are loud. " * 20, stream=False)
    plain, loud = (
        client.chat(model, [{"role": "user", "content": "hello"}], options=SHORT).prompt_eval_count or 0
        for model in ("guide", "loud")
    )
    assert loud > plain + 20


def test_a_file_is_uploaded_once_and_becomes_a_model(
    client: ollama.Client, http: httpx.Client, daemon: RunningDaemon, tmp_path: Path
):
    path, digest = own_model(tmp_path, 101)
    assert http.head(f"/api/blobs/{digest}").status_code == 404
    assert client.create_blob(path) == digest
    assert http.head(f"/api/blobs/{digest.replace(':', '-')}").status_code == 200
    assert client.create_blob(path) == digest
    assert blob(daemon, digest).read_bytes() == path.read_bytes()
    steps = client.create(model="uploaded", files={"model.gguf": digest}, stream=True)
    assert [step.status for step in steps] == [
        "parsing GGUF",
        f"using existing layer {digest}",
        "writing manifest",
        "success",
    ]
    assert client.generate("uploaded", "hello", options=SHORT).response


def test_a_template_in_ollama_s_form_is_what_the_model_sees(client: ollama.Client, tmp_path: Path):
    path, digest = own_model(tmp_path, 102)
    client.create_blob(path)
    template = "{{ if .System }}the {{ .System }}{{ end }} sun {{ .Prompt }} sea {{ .Response }}"
    client.create(model="templated", files={"m.gguf": digest}, template=template, system="moon", stream=False)
    whole = client.chat("templated", [{"role": "user", "content": "old stone"}], options=SHORT)
    raw = client.generate("templated", "the moon sun old stone sea ", raw=True, options=SHORT)
    assert (whole.message.content, whole.prompt_eval_count) == (raw.response, raw.prompt_eval_count)


def test_a_split_model_is_loaded_from_its_parts(client: ollama.Client, tmp_path: Path, tiny: Path):
    files = {part.name: client.create_blob(part) for part in split(tiny, tmp_path)}
    client.create(model="parted", files=files, stream=False)
    client.create_blob(tiny)
    client.create(model="whole", files={"m.gguf": digest_of(tiny.read_bytes())}, stream=False)
    parted, whole = (client.generate(name, "hello", options=SHORT).response for name in ("parted", "whole"))
    assert parted == whole != ""


def write_adapter(path: Path) -> Path:
    """A LoRA for the tiny model that turns one of its layers upside down."""
    entries: dict[str, str | float] = {
        "general.architecture": "llama",
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": 64.0,
    }
    keys = b"".join(text(key) + scalar(value) for key, value in entries.items())
    table, data = b"", b""
    for end, shape, values in (("a", (128, 1), [1.0] * 128), ("b", (1, 64), [0.0, *[1.0, -1.0] * 31, 1.0])):
        table += text(f"blk.1.ffn_down.weight.lora_{end}") + struct.pack("<IQQIQ", 2, *shape, 0, len(data))
        data += struct.pack(f"<{len(values)}f", *values)
    head = b"GGUF" + struct.pack("<IQQ", 3, 2, len(entries)) + keys + table
    path.write_bytes(head + bytes(-len(head) % 32) + data)
    return path


def test_an_adapter_changes_what_a_model_says(client: ollama.Client, tmp_path: Path):
    path, digest = own_model(tmp_path, 106)
    client.create_blob(path)
    client.create(model="plain", files={"m.gguf": digest}, stream=False)
    adapter = client.create_blob(write_adapter(tmp_path / "lora.gguf"))
    client.create(model="adapted", from_="plain", adapters={"lora.gguf": adapter}, stream=False)
    plain, adapted = (client.generate(name, "the sun", options=SHORT).response for name in ("plain", "adapted"))
    assert plain != adapted != ""


def test_a_copy_is_another_name_of_the_same(client: ollama.Client):
    client.create(model="first", from_="guide", system="Be first.", stream=False)
    assert client.copy("first", "Second:v1").status == "success"
    assert 'SYSTEM """Be first."""' in (client.show("second:V1").modelfile or "")
    digests = {model.model: model.digest for model in client.list().models}
    assert digests["Second:v1"] == digests["first:latest"]


def test_a_name_keeps_its_spelling(client: ollama.Client):
    client.create(model="Spelt", from_="guide", stream=False)
    client.create(model="SPELT:Latest", from_="guide", stream=False)
    assert {"Spelt:latest"} == {name for name in names(client) if name and name.lower() == "spelt:latest"}


def test_the_newest_model_is_the_first_of_the_list(client: ollama.Client):
    client.create(model="newest", from_="guide", stream=False)
    assert client.list().models[0].model == "newest:latest"


def test_a_deleted_model_is_gone_and_its_engine_too(client: ollama.Client, http: httpx.Client, tmp_path: Path):
    path, digest = own_model(tmp_path, 103)
    client.create_blob(path)
    client.create(model="doomed", files={"m.gguf": digest}, stream=False)
    client.generate("doomed", "hello", options=SHORT)
    [engine] = [one for one in http.get("/models").json()["models"] if one["name"] == "doomed:latest"]
    assert client.delete("doomed").status == "success"
    assert "doomed:latest" not in names(client)
    assert not alive(engine["pid"])


def test_the_engine_stays_while_its_weights_have_another_name(client: ollama.Client, http: httpx.Client):
    client.create(model="twin", from_="guide", stream=False)
    client.generate("guide", "hello", options=SHORT)
    client.delete("twin")
    assert any("guide:latest" in one["names"] for one in http.get("/models").json()["models"])


def age(path: Path) -> None:
    """Make the file one that was uploaded more than the hour of grace ago."""
    old = time.time() - GRACE_SECONDS - 1
    os.utime(path, (old, old))


def test_a_file_goes_with_the_last_model_that_uses_it(client: ollama.Client, daemon: RunningDaemon, tmp_path: Path):
    path, digest = own_model(tmp_path, 104)
    client.create_blob(path)
    client.create(model="one", files={"m.gguf": digest}, stream=False)
    client.copy("one", "two")
    age(blob(daemon, digest))
    client.delete("one")
    assert blob(daemon, digest).exists()
    client.delete("two")
    assert not blob(daemon, digest).exists()


def test_a_new_upload_outlives_the_deletion_of_other_models(
    client: ollama.Client, daemon: RunningDaemon, tmp_path: Path
):
    path, digest = own_model(tmp_path, 105)
    client.create_blob(path)
    client.create(model="other", from_="guide", stream=False)
    client.delete("other")
    assert blob(daemon, digest).exists()


def test_an_answer_goes_on_when_its_model_is_deleted(
    client: ollama.Client, daemon: RunningDaemon, http: httpx.Client, endless: Path
):
    digest = client.create_blob(endless)
    client.create(model="talker", files={"m.gguf": digest}, stream=False)
    age(blob(daemon, digest))
    asked = {"model": "talker", "prompt": "a", "options": {"num_predict": 20_000, "num_ctx": 30_000}}
    with http.stream("POST", "/api/generate", json=asked) as answer:
        lines = answer.iter_lines()
        next(lines)
        client.delete("talker")
        assert blob(daemon, digest).exists()
        assert [json.loads(next(lines))["done"] for _ in range(10)] == [False] * 10


def size(client: ollama.Client, name: str) -> int:
    return next(model.size or 0 for model in client.list().models if model.model == name)


def test_the_bundled_model_can_be_hidden_but_not_deleted(start_daemon: Callable[..., RunningDaemon], tiny: Path):
    with ollama.Client(start_daemon().url) as client:
        with pytest.raises(ollama.ResponseError, match="guide:latest comes with oprel and cannot be deleted") as caught:
            client.delete("guide")
        assert caught.value.status_code == 400
        own = size(client, "guide:latest")
        client.create(model="guide", files={"m.gguf": client.create_blob(tiny)}, stream=False)
        assert size(client, "guide:latest") == tiny.stat().st_size
        client.delete("guide")
        assert size(client, "guide:latest") == own


ZEROS = f"sha256:{'0' * 64}"
ERRORS: list[tuple[str, str, object, int, str]] = [
    ("POST", "/api/create", {"from": "guide"}, 400, "invalid model name"),
    ("POST", "/api/create", {"model": "a b", "from": "guide"}, 400, "invalid model name"),
    ("POST", "/api/create", {"model": "./a.gguf", "from": "guide"}, 400, "invalid model name"),
    ("POST", "/api/create", {"model": "x"}, 400, "neither 'from' or 'files' was specified"),
    ("POST", "/api/create", {"model": "x", "from": "nonesuch"}, 404, "model 'nonesuch' not found"),
    ("POST", "/api/create", {"model": "x", "files": {"m": "sha256:0"}}, 400, "invalid digest format"),
    ("POST", "/api/create", {"model": "x", "files": {"/m": ZEROS}}, 400, "file path must be relative"),
    ("POST", "/api/create", {"model": "x", "files": {"m": ZEROS}}, 400, f'blob "{ZEROS}" does not exist'),
    (
        *("POST", "/api/create", {"model": "x", "from": "guide", "parameters": {"temperature": "hot"}}),
        *(400, 'option "temperature" must be of type float32'),
    ),
    (
        *("POST", "/api/create", {"model": "x", "from": "guide", "messages": [{"role": "tool", "content": "x"}]}),
        *(400, 'message role must be one of "system", "user", or "assistant"'),
    ),
    (
        *("POST", "/api/create", {"model": "x", "from": "guide", "quantize": "q4_K_M"}),
        *(400, "quantization is only supported for F16, BF16 and F32 models, and this one is Q8_0"),
    ),
    ("POST", "/api/copy", {"source": "a b", "destination": "x"}, 400, 'source "a b" is invalid'),
    ("POST", "/api/copy", {"source": "guide", "destination": ""}, 400, 'destination "" is invalid'),
    ("POST", "/api/copy", {"source": "nonesuch", "destination": "x"}, 404, 'model "nonesuch" not found'),
    ("DELETE", "/api/delete", {}, 400, 'name "" is invalid'),
    ("DELETE", "/api/delete", {"model": "a b"}, 400, 'name "a b" is invalid'),
    ("DELETE", "/api/delete", {"name": "/etc/passwd"}, 400, 'name "/etc/passwd" is invalid'),
    ("DELETE", "/api/delete", {"name": "nonesuch"}, 404, "model 'nonesuch' not found"),
    ("DELETE", "/api/delete", None, 400, "missing request body"),
    ("POST", "/api/pull", {}, 400, "invalid model name"),
    ("POST", "/api/push", {}, 400, "model is required"),
    ("POST", "/api/push", {"model": "guide"}, 400, "guide:latest is no name of a registry that oprel can push to"),
    ("POST", "/api/blobs/sha256:0", None, 400, "invalid digest format"),
    ("POST", f"/api/blobs/{ZEROS}", None, 400, f'digest mismatch, expected "{ZEROS}", got "{digest_of(b"")}"'),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "text"), ERRORS, ids=[error[4] for error in ERRORS])
def test_every_error_has_its_status_and_text(
    http: httpx.Client, method: str, path: str, body: object, status: int, text: str
):
    response = http.request(method, path, json=body) if body is not None else http.request(method, path)
    assert (response.status_code, response.json()["error"]) == (status, text)
    assert response.headers["content-type"].startswith("application/json")


def test_a_model_that_is_here_is_as_good_as_pulled(client: ollama.Client):
    steps = [step.status for step in client.pull("guide", stream=True)]
    assert (steps[0], steps[-1]) == ("pulling manifest", "success")
    assert client.pull("guide").status == "success"


def test_a_pull_that_fails_has_begun_already(http: httpx.Client):
    response = http.post("/api/pull", json={"model": "nonesuch"})
    first, last = (json.loads(line) for line in response.text.splitlines())
    assert (response.status_code, first) == (200, {"status": "pulling manifest"})
    assert last["error"].startswith("the registry registry.ollama.ai cannot be reached")


def test_copy_and_delete_answer_with_nothing(http: httpx.Client):
    copied = http.post("/api/copy", json={"source": "guide", "destination": "nothing"})
    deleted = http.request("DELETE", "/api/delete", json={"name": "nothing"})
    assert [(one.status_code, one.content) for one in (copied, deleted)] == [(200, b""), (200, b"")]


def test_a_created_model_that_is_not_streamed_is_one_object(http: httpx.Client):
    response = http.post("/api/create", json={"model": "single", "from": "guide", "stream": False})
    assert response.json() == {"status": "success"}
    assert response.headers["content-type"].startswith("application/json")


def test_parameters_that_nobody_knows_are_left_out_and_told(http: httpx.Client):
    asked = {"model": "odd", "from": "guide", "parameters": {"mirostat": 2, "seed": None, "stop": "x"}}
    assert '"ignored unknown parameter mirostat"' in http.post("/api/create", json=asked).text
    assert http.post("/api/show", json={"model": "odd"}).json()["parameters"].split() == ["stop", '"x"']


def test_there_is_no_cloud(http: httpx.Client):
    assert http.get("/api/status").json() == {"cloud": {"disabled": True, "source": "config"}}
    assert http.head("/api/status").status_code == 200


def test_a_web_page_cannot_make_a_model_of_a_path(http: httpx.Client, tiny: Path):
    asked = {"model": "stolen", "from": str(tiny), "stream": False}
    page = http.post("/api/create", json=asked, headers={"origin": "http://localhost"})
    assert (page.status_code, page.json()["error"]) == (404, f"model '{tiny}' not found")
    assert http.post("/api/create", json=asked).json() == {"status": "success"}


def test_blobs_answer_by_status(http: httpx.Client):
    content = b"no model, but a file"
    path = f"/api/blobs/{digest_of(content)}"
    assert http.head("/api/blobs/sha256:0").status_code == 400
    answers = [http.head(path), http.post(path, content=content), http.post(path, content=content), http.head(path)]
    assert [answer.status_code for answer in answers] == [404, 201, 200, 200]
    assert [answer.content for answer in answers] == [b""] * 4


def test_a_client_that_leaves_during_its_upload_leaves_no_file(daemon: RunningDaemon):
    folder = daemon.config.models_dir / "blobs"
    address = urlsplit(daemon.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(
            f"POST /api/blobs/{ZEROS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n".encode()
        )
        connection.sendall(bytes(6_000_000))
        eventually(lambda: [path for path in folder.glob(".upload.*") if path.stat().st_size])
    eventually(lambda: not list(folder.glob(".upload.*")))
    assert not blob(daemon, ZEROS).exists()
    assert "unexpected error" not in daemon.log


FAKE_QUANTIZER = f"""#!{sys.executable}
import shutil, sys, time
source, target, kind = sys.argv[1:]
print("[   1/   2]  token_embd.weight - converting to", kind, flush=True)
if kind == "Q2_K":
    sys.exit("this kind is too small")
if kind == "Q3_K_S":
    time.sleep(600)
print("[   2/   2]  output.weight - converting to", kind)
shutil.copy(source, target)
with open(target, "ab") as file:
    file.write(kind.encode())
"""


class TestQuantizing:
    """With a program of ours in the quantizer's place: what matters here is how it is run."""

    @pytest.fixture
    def daemon(
        self, start_daemon: Callable[..., RunningDaemon], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> RunningDaemon:
        program = tmp_path / "llama-quantize"
        program.write_text(FAKE_QUANTIZER)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        return start_daemon()

    def test_progress_is_told_in_bytes(self, client: ollama.Client, daemon: RunningDaemon, tiny: Path):
        digest, size = client.create_blob(tiny), tiny.stat().st_size
        steps = list(client.create(model="small", files={"m.gguf": digest}, quantize="q4_K_M", stream=True))
        result = digest_of(tiny.read_bytes() + b"Q4_K_M")
        assert [(step.status, step.completed, step.total) for step in steps] == [
            ("parsing GGUF", None, None),
            ("quantizing F16 model to Q4_K_M", size // 2, size),
            ("quantizing F16 model to Q4_K_M", size, size),
            (f"creating new layer {result}", None, None),
            ("writing manifest", None, None),
            ("success", None, None),
        ]
        assert blob(daemon, result).exists()
        assert client.generate("small", "hello", options=SHORT).response

    def test_its_last_words_are_told(self, client: ollama.Client, daemon: RunningDaemon, tiny: Path):
        with pytest.raises(ollama.ResponseError, match="llama-quantize failed: .* this kind is too small"):
            client.create(model="small", files={"m.gguf": client.create_blob(tiny)}, quantize="q2_K", stream=False)
        assert list((daemon.config.models_dir / "blobs").glob(".upload.*")) == []

    def test_it_ends_with_the_client_that_asked(
        self, client: ollama.Client, http: httpx.Client, daemon: RunningDaemon, tiny: Path
    ):
        asked = {"model": "small", "files": {"m.gguf": client.create_blob(tiny)}, "quantize": "q3_K_S"}
        with http.stream("POST", "/api/create", json=asked) as answer:
            lines = answer.iter_lines()
            assert [json.loads(next(lines))["status"] for _ in range(2)][1] == "quantizing F16 model to Q3_K_S"
            assert list((daemon.config.models_dir / "blobs").glob(".upload.*"))
        eventually(lambda: not list((daemon.config.models_dir / "blobs").glob(".upload.*")))


def test_without_a_quantizer_the_error_says_what_to_install(http: httpx.Client, tiny: Path):
    response = http.post("/api/create", json={"model": "x", "from": str(tiny), "quantize": "q4_K_M"})
    assert (response.status_code, response.json()["error"]) == (400, "no quantizer is installed")
    assert "llama-quantize" in response.json()["resolution_steps"][0]


def test_models_outlive_the_daemon(start_daemon: Callable[..., RunningDaemon]):
    daemon = start_daemon()
    with ollama.Client(daemon.url) as client:
        client.create(model="lasting", from_="guide", system="Be there.", stream=False)
    assert daemon.end() == 0
    with ollama.Client(start_daemon().url) as client:
        assert "Be there." in (client.show("lasting").modelfile or "")
