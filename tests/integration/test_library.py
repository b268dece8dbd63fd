"""Models of other programs used where they lie, files taken in and given back, as a user and the API see them."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Unpack

import httpx
import pytest

from oprel.client.calls import LibraryFilters
from oprel.client_api import Client
from oprel.core.config import Config
from oprel.core.exceptions import InvalidModelError, ModelNotFoundError, UnsupportedError
from oprel.wire.library import ImportHow
from tests.conftest import DEADLINE, ENGINE_THREADS, RunningDaemon, eventually, running_daemon, temporary_home
from tests.fixtures.gguf_factory import write_tiny_gguf
from tests.fixtures.gguf_parts import write_projector
from tests.fixtures.hf_llama import write_tiny_llama
from tests.fixtures.model_stores import add_files, add_to_hub_cache, add_to_ollama, digest_of

SHORT = {"num_predict": 4, "temperature": 0}
LIBRARY = "registry.ollama.ai/library"
TEMPLATE = b"{{ if .System }}the {{ .System }} {{ end }}sun {{ .Prompt }} sea {{ .Response }}"
OWN = ("oprel", "bundled")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_tiny_gguf(tmp_path_factory.mktemp("weights") / "m.gguf", seed=300).read_bytes()


@pytest.fixture(scope="module")
def machine(weights: bytes) -> Iterator[RunningDaemon]:
    """A daemon on a machine where other programs have models; each test that makes some uses names of its own."""
    with temporary_home() as folder, pytest.MonkeyPatch.context() as environment:
        layers = [
            ("model", weights),
            ("template", TEMPLATE),
            ("system", b"moon"),
            ("params", b'{"num_predict": 3, "temperature": 0}'),
            ("license", b"MIT"),
        ]
        add_to_ollama(folder / "ollama", f"{LIBRARY}/fromollama/1b", layers)
        odd = [("model", weights), ("template", b"{{ currentDate }}")]
        add_to_ollama(folder / "ollama", f"{LIBRARY}/odd/latest", odd)
        seeing = write_tiny_gguf(folder / "seeing.gguf", seed=301).read_bytes()
        eyes = write_projector(folder / "eyes.gguf").read_bytes()
        add_to_hub_cache(folder / "hub", "org/repo", {"m-Q4_0.gguf": seeing, "mmproj-m.gguf": eyes})
        add_files(folder / "llama.cpp", {"loose.gguf": write_tiny_gguf(folder / "l.gguf", seed=302).read_bytes()})
        environment.setenv("OLLAMA_MODELS", str(folder / "ollama"))
        environment.setenv("HF_HUB_CACHE", str(folder / "hub"))
        environment.setenv("LLAMA_CACHE", str(folder / "llama.cpp"))
        config = Config(home=str(folder / "home"), server_port=0, n_threads=ENGINE_THREADS)
        with running_daemon(config) as daemon:
            yield daemon


@pytest.fixture
def client(machine: RunningDaemon) -> Iterator[Client]:
    with machine.client as client:
        yield client


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def unloaded(client: Client, name: str) -> None:
    """Its engine is gone: right after an answer it may still be held."""
    client.unload(name)
    eventually(lambda: f"{name}:latest" not in {model.name for model in client.engines().models})


def test_models_of_other_programs_are_listed_with_where_they_come_from(client: Client):
    listed = {model.name: (model.source, model.provider) for model in client.library().models}
    assert listed["fromollama:1b"] == ("ollama", "ollama")
    assert listed["hf.co/org/repo:Q4_0"] == ("huggingface", "huggingface")
    assert listed["loose:latest"] == ("llama.cpp", "llama.cpp")
    assert {model.name: model.source for model in client.list().models}["fromollama:1b"] == "ollama"


def test_a_model_of_ollama_runs_without_a_byte_copied(client: Client, machine: RunningDaemon):
    before = bytes_in(machine.config.models_dir)
    reply = client.chat("fromollama:1b", [{"role": "user", "content": "old stone"}])
    raw = client.generate("fromollama:1b", "the moon sun old stone sea ", raw=True)
    assert (reply.message.content, reply.prompt_eval_count) == (raw.response, raw.prompt_eval_count)
    assert reply.eval_count == 3  # as its parameters say
    assert bytes_in(machine.config.models_dir) == before
    engine = next(one for one in client.engines().models if one.name == "fromollama:1b")
    assert Path(engine.path).parent.name == "blobs" and "ollama" in engine.path


def test_the_layers_of_a_model_of_ollama_are_shown(client: Client):
    shown = client.show("fromollama:1b")
    assert (shown.system, shown.license, shown.template) == ("moon", "MIT", TEMPLATE.decode())
    assert shown.notes == ["belongs to Ollama: `ollama pull fromollama:1b` updates it"]


def test_a_template_that_cannot_be_followed_is_said_to_be(client: Client):
    assert "the model's own is used" in (client.show("odd").notes or [""])[0]
    assert client.generate("odd", "hello", options=SHORT).response


def test_a_model_of_the_hub_s_cache_sees_by_the_projector_beside_it(client: Client):
    assert "vision" in client.show("hf.co/org/repo:Q4_0").capabilities
    assert client.generate("hf.co/org/repo:q4_0", "hello", options=SHORT).response


def test_a_model_of_another_program_can_have_a_name_of_ours_and_not_be_removed(client: Client):
    client.copy("loose", "ours")
    assert client.remove("ours").freed_bytes == 0
    with pytest.raises(UnsupportedError, match="fromollama:1b belongs to ollama") as caught:
        client.remove("fromollama:1b")
    assert "`ollama rm`" in caught.value.resolution_steps[0]
    assert client.show("fromollama:1b")


def test_filters_choose_among_the_models(client: Client):
    def names(**filters: Unpack[LibraryFilters]) -> set[str]:
        return {model.name for model in client.library(**filters).models}

    assert names(provider="ollama") == {"fromollama:1b", "odd:latest"}
    assert "hf.co/org/repo:Q4_0" in names(capability="vision") and "loose:latest" not in names(capability="vision")
    client.load("loose")
    assert "loose:latest" in names(status="loaded") and "loose:latest" not in names(status="installed")
    assert names(status="installed,loaded") == names(status="installed") | names(status="loaded")
    assert names(source="ollama") == names(provider="ollama") and names(status="local") >= names(status="loaded")
    assert names(served_by="llama-cpp", q="FROM ollama") == {"fromollama:1b"}
    client.unload("loose")


def test_a_page_has_some_of_the_rows_and_tells_how_many_there_are(client: Client):
    everything = client.library(sort="name")
    first, second = (client.library(sort="name", page=page, per_page=2) for page in (1, 2))
    assert [*first.models, *second.models] == everything.models[:4]
    assert first.total_count == everything.total_count == len(everything.models) == everything.local_count
    assert everything.available_count == len(client.library(status="available").models)
    assert client.library(sort="-name").models == everything.models[::-1]


def test_one_model_is_described_with_the_memory_that_it_needs(client: Client, machine: RunningDaemon):
    with httpx.Client(base_url=machine.url, trust_env=False, timeout=DEADLINE) as http:
        here = http.get("/api/models/library/fromollama:1b").json()
        there = http.get("/api/models/library/qwencoder").json()
        nowhere = http.get("/api/models/library/nonesuch")
        page = {"Origin": "http://localhost:3000"}
        shown = http.get("/api/models/library/fromollama:1b", headers=page).json()
    assert here["metadata"]["memory_requirement"] > here["size"] and here["checksum"].startswith("sha256:")
    assert (here["id"], here["served_by"], here["path"]) == ("fromollama:1b", "llama.cpp", here["local_path"])
    assert (there["status"], there["name"]) == ("available", "qwen2.5-coder")
    assert nowhere.status_code == 404
    assert shown["path"] is None and shown["local_path"] is None


def test_what_can_be_pulled_is_listed_when_asked_for(client: Client):
    coders = {model.name: model for model in client.library(status="available", capability="insert").models}
    assert coders["qwen2.5-coder"].repositories["7b"] == "Qwen/Qwen2.5-Coder-7B-Instruct-GGUF"
    assert "qwencoder" in coders["qwen2.5-coder"].aliases
    assert "qwen2.5-coder" not in {model.name for model in client.library().models}


def test_a_status_that_is_none_is_refused(machine: RunningDaemon):
    answer = httpx.get(f"{machine.url}/api/models/library?status=lost", trust_env=False, timeout=DEADLINE)
    assert answer.status_code == 400 and "there is no status 'lost'" in answer.text


def test_a_damaged_model_is_told_of(client: Client, machine: RunningDaemon, tmp_path: Path):
    path = write_tiny_gguf(tmp_path / "gone.gguf")
    assert [step.status for step in client.import_model("damaged", str(path), how="in_place")][-1] == "success"
    path.unlink()
    found = client.library(status="damaged").models
    assert [(model.name, model.path) for model in found] == [("damaged:latest", str(path))]
    client.remove("damaged")


@pytest.mark.parametrize("how", ["link", "copy"])
def test_an_imported_file_is_ours_and_frees_what_it_took(
    client: Client, machine: RunningDaemon, tmp_path: Path, how: str
):
    path = write_tiny_gguf(tmp_path / "mine.gguf", seed=310 + len(how))
    digest = digest_of(path.read_bytes())
    steps = [step.status for step in client.import_model(f"mine-{how}", str(path), how=how)]
    assert steps == ["reading mine.gguf", f"using layer {digest}", "writing manifest", "success"]
    blob = machine.config.models_dir / "blobs" / digest.replace(":", "-")
    assert blob.read_bytes() == path.read_bytes()
    shared = os.path.samefile(blob, path)
    assert not (shared and how == "copy")
    size = path.stat().st_size
    path.unlink()
    assert client.generate(f"mine-{how}", "hello", options=SHORT).response
    unloaded(client, f"mine-{how}")
    assert client.remove(f"mine-{how}").freed_bytes == size
    assert not blob.exists()


def test_a_removed_model_says_how_much_it_freed(client: Client, tmp_path: Path):
    path = write_tiny_gguf(tmp_path / "big.gguf", seed=330)
    list(client.import_model("big", str(path), how="copy"))
    client.copy("big", "twin")
    assert client.remove("big").freed_bytes == 0  # the other name still needs it
    assert client.remove("twin").freed_bytes == path.stat().st_size
    with pytest.raises(ModelNotFoundError):
        client.remove("twin")


def test_a_folder_is_imported_with_its_projector_and_a_part_with_all_parts(client: Client, tmp_path: Path):
    folder = tmp_path / "vl"
    folder.mkdir()
    write_tiny_gguf(folder / "vl-Q4_0.gguf", seed=331)
    write_projector(folder / "mmproj-vl.gguf")
    list(client.import_model("vl", str(folder)))
    assert "vision" in client.show("vl").capabilities
    client.remove("vl")
    write_tiny_gguf(folder / "another-Q8_0.gguf", seed=332)
    with pytest.raises(InvalidModelError, match="contains 2 models"):
        list(client.import_model("vl", str(folder)))
    with pytest.raises(InvalidModelError, match="is not a model by itself"):
        list(client.import_model("vl", str(folder / "mmproj-vl.gguf")))


@pytest.mark.parametrize("how", ["link", "copy", "in_place"])
def test_a_folder_of_safetensors_becomes_a_model(client: Client, tmp_path: Path, how: ImportHow):
    folder = write_tiny_llama(tmp_path / "theirs", seed=333)
    (folder / "README.md").write_text("not for engines")
    assert list(client.import_model("folder", str(folder), how=how))[-1].status == "success"
    details = client.show("folder").details
    assert (details.format, details.family, details.quantization_level) == ("safetensors", "llama", "F32")
    weights = Path(next(one.path for one in client.library().models if one.name == "folder:latest") or "")
    assert (weights == folder) == (how == "in_place")
    assert sorted(path.name for path in weights.glob("*.[sj]*")) == sorted(path.name for path in folder.glob("*.[sj]*"))
    is_shared = (weights / "model.safetensors").samefile(folder / "model.safetensors")
    assert is_shared if how == "in_place" else how == "link" or not is_shared
    freed = client.remove("folder").freed_bytes
    assert (folder / "model.safetensors").exists()
    assert weights.exists() == (how == "in_place")
    if how == "copy":
        assert freed > (folder / "model.safetensors").stat().st_size


def test_a_folder_that_engines_would_refuse_is_not_taken(client: Client, tmp_path: Path):
    folder = write_tiny_llama(tmp_path / "theirs", seed=334)
    (folder / "config.json").unlink()
    with pytest.raises(InvalidModelError, match="no config.json"):
        list(client.import_model("folder", str(folder)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidModelError, match="contains no model"):
        list(client.import_model("folder", str(tmp_path / "empty")))


def test_only_the_machine_s_own_user_names_paths(machine: RunningDaemon, tmp_path: Path):
    path = write_tiny_gguf(tmp_path / "m.gguf")
    page = {"Origin": "http://localhost:3000"}
    asked = {"model": "stolen", "path": str(path)}
    with httpx.Client(base_url=machine.url, headers=page, trust_env=False, timeout=DEADLINE) as http:
        assert http.post("/api/models/import", json=asked).status_code == 401
        assert http.get("/api/models/cache").status_code == 401
        assert http.request("DELETE", "/api/models/cache", json={}).status_code == 401


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a\0b", "m" * 10_000, "a/../b", "./m.gguf"])
def test_a_name_that_is_none_is_refused_by_every_call(machine: RunningDaemon, name: str, tmp_path: Path):
    path = str(write_tiny_gguf(tmp_path / "m.gguf"))
    with httpx.Client(base_url=machine.url, trust_env=False, timeout=DEADLINE) as http:
        assert http.post("/api/models/import", json={"model": name, "path": path}).status_code == 400
        assert http.post("/api/push", json={"model": name, "stream": False}).status_code == 400
        quoted = httpx.URL("/").copy_with(path=f"/api/models/library/{name}") if "\0" not in name else None
        if quoted and len(name) < 100:
            assert http.delete(quoted).status_code in (400, 404)


def test_the_cache_tells_of_files_uses_and_twins(client: Client, machine: RunningDaemon, weights: bytes):
    twin = machine.config.home_dir / "twin.gguf"
    twin.write_bytes(weights)
    list(client.import_model("twinned", str(twin), how="copy"))
    client.generate("twinned", "hello", options=SHORT)
    found = client.cache()
    blob = next(file for file in found.files if "twinned:latest" in file.models)
    assert (blob.digest, blob.provider, blob.size) == (digest_of(weights), "oprel", len(weights))
    assert blob.last_used_at
    assert [sorted(Path(path).name for path in group) for group in found.duplicates] == [[Path(blob.path).name] * 2]
    unloaded(client, "twinned")
    client.remove("twinned")
    assert not client.cache().duplicates


def test_verifying_finds_the_file_that_is_damaged(client: Client, tmp_path: Path):
    path = write_tiny_gguf(tmp_path / "m.gguf", seed=340)
    list(client.import_model("rotten", str(path), how="copy"))
    assert [step.status for step in client.verify_cache()][-1] == "success"
    blob = Path(next(file for file in client.cache().files if "rotten:latest" in file.models).path)
    with blob.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    with pytest.raises(InvalidModelError, match=f"damaged: rotten:latest, in {blob}"):
        list(client.verify_cache())
    client.remove("rotten")


def test_pruning_removes_what_no_model_uses_and_clearing_every_model(
    client: Client, machine: RunningDaemon, tmp_path: Path
):
    orphan = machine.config.models_dir / "blobs" / f"sha256-{'0' * 64}"
    orphan.write_bytes(bytes(1000))
    path = write_tiny_gguf(tmp_path / "m.gguf", seed=341)
    list(client.import_model("kept", str(path), how="copy"))
    assert client.clear_cache().freed_bytes == 1000
    assert not orphan.exists() and client.show("kept")
    assert client.clear_cache(all=True).freed_bytes == path.stat().st_size
    with pytest.raises(ModelNotFoundError):
        client.show("kept")
    assert client.show("fromollama:1b") and client.show("guide")


def test_a_model_in_use_is_freed_when_its_answer_is_done(client: Client, tmp_path: Path):
    path = write_tiny_gguf(tmp_path / "talker.gguf", seed=342, endless=True)
    list(client.import_model("talker", str(path), how="copy"))
    with closing(client.generate("talker", "go on", stream=True)) as answer:  # type: ignore[type-var]
        next(answer)
        assert client.remove("talker").busy
    eventually(lambda: "talker:latest" not in {model.name for model in client.engines().models})
    assert client.clear_cache().freed_bytes == path.stat().st_size


def test_the_last_use_outlives_the_daemon(tmp_path: Path, tiny: Path):
    with temporary_home() as home:
        config = Config(home=str(home), server_port=0, n_threads=ENGINE_THREADS)
        with running_daemon(config) as daemon, daemon.client as client:
            list(client.import_model("tiny", str(tiny), how="in_place"))
            client.generate("tiny", "hello", options=SHORT)
        with running_daemon(config) as daemon, daemon.client as client:
            used = {model.name: model.last_used_at for model in client.library().models}
    assert used["tiny:latest"] and used["guide:latest"] is None
