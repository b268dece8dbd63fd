"""The commands about models that are here, taken in, given away and removed, as a user types them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from oprel.core.config import Config
from tests.conftest import ENGINE_THREADS, NOWHERE, running_daemon, temporary_home
from tests.fixtures.gguf_factory import write_tiny_gguf
from tests.fixtures.model_stores import add_to_ollama
from tests.integration.test_cli import Shell, failed


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Of a daemon for tests that each use names of their own, on a machine with a model of Ollama's."""
    with temporary_home() as folder, pytest.MonkeyPatch.context() as environment:
        weights = write_tiny_gguf(folder / "m.gguf", seed=500).read_bytes()
        add_to_ollama(folder / "ollama", "registry.ollama.ai/library/theirs/latest", [("model", weights)])
        environment.setenv("OLLAMA_MODELS", str(folder / "ollama"))
        own = folder / "home"
        with running_daemon(Config(home=str(own), server_port=0, n_threads=ENGINE_THREADS, ollama_registry=NOWHERE)):
            yield own


@pytest.fixture
def oprel(home: Path, tmp_path: Path) -> Shell:
    return Shell(tmp_path, {"home": str(home)})


def lines(text: str) -> list[list[str]]:
    return [re.split(r" {2,}", line) for line in text.splitlines()]


def test_list_says_whose_a_model_is_and_run_uses_it_there(oprel: Shell):
    assert {line[0]: line[-1] for line in lines(oprel("list").stdout)}["theirs:latest"] == "ollama"
    done = oprel("run", "theirs", "--option", "num_predict=3", "hello")
    assert (done.returncode, bool(done.stdout.strip())) == (0, True)


def test_rm_of_another_program_s_model_says_who_removes_it(oprel: Shell):
    assert failed(oprel("rm", "theirs"), 2, "belongs to ollama", "`ollama rm`")


def test_import_names_a_file_after_itself_and_rm_says_what_it_freed(oprel: Shell, tmp_path: Path):
    path = write_tiny_gguf(tmp_path / "My Model-Q4_0.gguf", seed=501)
    done = oprel("import", "My Model-Q4_0.gguf", "--copy")
    assert (done.returncode, done.stdout) == (0, "imported 'My-Model-Q4_0'\n")
    assert done.stderr.splitlines()[0] == "reading My Model-Q4_0.gguf"
    assert oprel("show", "my-model-q4_0").returncode == 0
    assert oprel("rm", "My-Model-Q4_0").stdout == "deleted 'My-Model-Q4_0', 275 KB freed\n"
    assert path.exists()


def test_a_file_used_in_place_stays_when_its_name_goes(oprel: Shell, tmp_path: Path):
    path = write_tiny_gguf(tmp_path / "here.gguf", seed=502)
    assert oprel("import", "./here.gguf", "placed", "--in-place").returncode == 0
    assert str(path) in oprel("show", "placed", "--modelfile").stdout
    assert oprel("rm", "placed").stdout == "deleted 'placed'\n"
    assert path.exists()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["import", "nosuch.gguf"], 3, "there is no file nosuch.gguf"),
        (["import", "text.gguf"], 4, "is not a usable GGUF model"),
        (["import", "."], 4, "contains 2 models"),
        (["import", "a-Q4_0.gguf", "../x"], 2, "invalid model name"),
        (["push", "theirs"], 2, "no name of a registry"),
        (["push", "nosuch"], 3, "model 'nosuch:latest' not found"),
        (["cache", "clear"], 2, "Confirm with --yes"),
        (["cache", "burn"], 2, "invalid choice"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_told(oprel: Shell, tmp_path: Path, words: list[str], status: int, said: str):
    (tmp_path / "text.gguf").write_text("no model")
    write_tiny_gguf(tmp_path / "a-Q4_0.gguf")
    assert failed(oprel(*words), status, said)


def test_list_models_finds_by_words_and_by_what_they_can(oprel: Shell):
    shown = lines(oprel("list-models", "code", "gaps").stdout)
    assert shown[0] == ["NAME", "SIZES", "CAPABILITIES", "LICENSE", "GOOD FOR"]
    assert {line[0] for line in shown[1:]} == {"codestral", "qwen2.5-coder"}
    found = json.loads(oprel("list-models", "--capability", "rerank", "--json").stdout)
    assert {model["name"] for model in found["models"]} == {"bge-reranker", "qwen3-reranker"}


def test_aliases_of_the_user_s_are_listed_and_wrong_ones_told(oprel: Shell, home: Path):
    own = home / "aliases.yaml"
    own.write_text("my-model: {sizes: {7b: me/mine-GGUF}, about: mine}")
    assert lines(oprel("list-models", "mine").stdout)[1][0] == "my-model"
    own.write_text("my-model: {sizes: {}}")
    assert "my-model: it has no sizes" in oprel("list-models").stderr
    own.unlink()


def test_the_cache_is_listed_verified_and_pruned(oprel: Shell, home: Path, tmp_path: Path):
    write_tiny_gguf(tmp_path / "kept.gguf", seed=503)
    oprel("import", "kept.gguf", "--copy")
    shown = oprel("cache")
    (shown_file,) = [line[0] for line in lines(shown.stdout) if line[1] == "275 KB" and "kept:latest" in line]
    assert re.fullmatch("[0-9a-f]{12}", shown_file)
    assert oprel("cache", "verify").stdout == "every file is intact\n"
    orphan = home / "models" / "blobs" / f"sha256-{'1' * 64}"
    orphan.write_bytes(bytes(2000))
    done = oprel("cache", "prune")
    assert (done.stdout, done.stderr) == ("2.0 KB freed\n", f"removed {'1' * 12}, 2.0 KB\n")
    assert not orphan.exists()
    blob = next(
        Path(file["path"])
        for file in json.loads(oprel("cache", "--json").stdout)["files"]
        if "kept:latest" in file["models"]
    )
    blob.write_bytes(bytes(blob.stat().st_size))
    done = oprel("cache", "verify")
    assert (done.returncode, f"damaged: kept:latest, in {blob}" in done.stderr) == (4, True)
    assert "`oprel rm`" in done.stderr
    oprel("rm", "kept")
    oprel("cache", "prune")
    assert not blob.exists()


def test_files_that_nobody_told_a_digest_of_are_said_to_be_unverified(oprel: Shell, tmp_path: Path):
    write_tiny_gguf(tmp_path / "loose.gguf", seed=504)
    oprel("import", "loose.gguf", "--in-place")
    done = oprel("cache", "verify")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "every file with a digest is intact",
        "loose:latest: its header is good, nobody told its digest",
    ]
    oprel("rm", "loose")


def test_list_models_says_when_nothing_is_found(oprel: Shell):
    done = oprel("list-models", "zzz")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("no short name matches")


def test_a_mistyped_name_is_asked_nowhere_and_helped(oprel: Shell):
    done = oprel("run", "giude", "hello")
    assert failed(done, 3, "model 'giude' not found", "cannot be reached", "Did you mean guide?")
