"""GGUF files that other programs keep, as models with names."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from oprel.core.models.manifests import Manifest
from oprel.core.places import Places, places
from oprel.stores import stores_in
from oprel.stores.base import Store, Stores
from oprel.stores.folders import HubStore, LlamaCppStore, LmStudioStore
from tests.fixtures.model_stores import add_files, add_to_hub_cache


def found(store: Store) -> dict[str, Manifest]:
    return {manifest.name: manifest for manifest in Stores([store]).all()}


def test_a_repository_in_the_hub_s_cache_has_a_model_for_each_quant(tmp_path: Path):
    files = {"m-Q4_K_M.gguf": b"GGUF a", "m-Q8_0.gguf": b"GGUF bb", "mmproj-m-f16.gguf": b"GGUF c", "README.md": b"#"}
    snapshot = add_to_hub_cache(tmp_path, "org/repo-GGUF", files)
    models = found(HubStore(tmp_path))
    assert set(models) == {"hf.co/org/repo-GGUF:Q4_K_M", "hf.co/org/repo-GGUF:Q8_0"}
    model = models["hf.co/org/repo-GGUF:Q4_K_M"]
    assert (model.weights, model.projector) == (snapshot / "m-Q4_K_M.gguf", snapshot / "mmproj-m-f16.gguf")
    assert model.provider == "huggingface"


def test_a_split_model_is_one_when_it_is_whole(tmp_path: Path):
    names = [f"Q4_K_M/big-Q4_K_M-{number:05}-of-00003.gguf" for number in (1, 2, 3)]
    snapshot = add_to_hub_cache(tmp_path, "org/big", {name: name.encode() for name in names[:2]})
    assert found(HubStore(tmp_path)) == {}
    add_to_hub_cache(tmp_path, "org/big", {names[2]: b"GGUF 3"})
    assert found(HubStore(tmp_path))["hf.co/org/big:Q4_K_M"].parts == tuple(snapshot / name for name in names)


def test_files_that_tell_no_quant_or_the_same_go_by_their_names(tmp_path: Path):
    add_to_hub_cache(tmp_path, "org/r", {"one-Q4_0.gguf": b"1", "two-Q4_0.gguf": b"2", "plain.gguf": b"3"})
    assert set(found(HubStore(tmp_path))) == {"hf.co/org/r:one-Q4_0", "hf.co/org/r:two-Q4_0", "hf.co/org/r:plain"}


def test_of_several_snapshots_main_counts_first_and_none_hides_models(tmp_path: Path):
    new = add_to_hub_cache(tmp_path, "org/r", {"new-Q4_0.gguf": b"1"})
    old = tmp_path / "models--org--r" / "snapshots" / ("f" * 40)
    add_files(old, {"old-Q8_0.gguf": b"2"})
    add_files(old.parent / "..nonsense", {"bad-Q6_K.gguf": b"2"})
    add_files(old, {"new-Q4_0.gguf": b"3", "mmproj-F16.gguf": b"4"})
    models = found(HubStore(tmp_path))
    assert {name: model.weights.parent for name, model in models.items()} == {
        "hf.co/org/r:Q4_0": new,
        "hf.co/org/r:Q8_0": old,
    }
    assert {model.projector for model in models.values()} == {old / "mmproj-F16.gguf"}
    (tmp_path / "models--org--r" / "refs" / "main").write_text("../../../etc")
    assert len(found(HubStore(tmp_path))) == 2


def test_content_that_repositories_share_is_theirs(tmp_path: Path):
    """huggingface_hub's shared blobs: what a snapshot links to is a link into the whole cache's `blobs`."""
    snapshot = add_to_hub_cache(tmp_path, "org/r", {"m-Q4_0.gguf": b"1"})
    blob = (snapshot / "m-Q4_0.gguf").resolve()
    payload = tmp_path / "blobs" / "ab" / "abcd"
    payload.parent.mkdir(parents=True)
    blob.rename(payload)
    blob.symlink_to("../../blobs/ab/abcd")
    assert set(found(HubStore(tmp_path))) == {"hf.co/org/r:Q4_0"}


def test_models_that_the_user_linked_into_lm_studio_are_listed(tmp_path: Path):
    add_files(tmp_path / "drive", {"B/B-Q4_0.gguf": b"1", "c.gguf": b"2"})
    add_files(tmp_path / "models", {"pub/C/README.md": b"#", "pub/D/Q8_0/D-Q8_0.gguf": b"3"})
    publisher = tmp_path / "models" / "pub"
    (publisher / "B").symlink_to(tmp_path / "drive" / "B")
    (publisher / "C" / "C-Q4_0.gguf").symlink_to(tmp_path / "drive" / "c.gguf")
    (publisher / "E").symlink_to(tmp_path / "unplugged")
    assert set(found(LmStudioStore(tmp_path / "models"))) == {"pub/B:Q4_0", "pub/C:Q4_0", "pub/D:Q8_0"}


def test_a_link_out_of_a_repository_is_not_followed(tmp_path: Path):
    snapshot = add_to_hub_cache(tmp_path / "hub", "org/r", {"m-Q4_0.gguf": b"1"})
    add_files(tmp_path, {"secret.gguf": b"GGUF"})
    (snapshot / "secret-Q8_0.gguf").symlink_to(tmp_path / "secret.gguf")
    assert set(found(HubStore(tmp_path / "hub"))) == {"hf.co/org/r:Q4_0"}


def test_lm_studio_s_models_go_by_publisher_and_repository(tmp_path: Path):
    add_files(
        tmp_path, {"pub/repo-GGUF/m-Q6_K.gguf": b"1", "pub/repo-GGUF/mmproj-m.gguf": b"2", "odd name/x/m.gguf": b"3"}
    )
    models = found(LmStudioStore(tmp_path))
    assert set(models) == {"pub/repo-GGUF:Q6_K"}
    assert models["pub/repo-GGUF:Q6_K"].projector == tmp_path / "pub" / "repo-GGUF" / "mmproj-m.gguf"


def test_llama_cpp_s_manifests_tell_owner_repository_and_file_apart(tmp_path: Path):
    add_files(
        tmp_path,
        {
            "ggml-org_gemma-3-1b-it-GGUF_gemma-3-1b-it-Q4_K_M.gguf": b"1",
            "ggml-org_gemma-3-1b-it-GGUF_mmproj-model-f16.gguf": b"2",
            "manifest=ggml-org=gemma-3-1b-it-GGUF=latest.json": json.dumps({}).encode(),
            "my-own.gguf": b"3",
        },
    )
    models = found(LlamaCppStore(tmp_path))
    assert set(models) == {"hf.co/ggml-org/gemma-3-1b-it-GGUF:Q4_K_M", "my-own:latest"}
    assert models["hf.co/ggml-org/gemma-3-1b-it-GGUF:Q4_K_M"].projector
    assert models["my-own:latest"].weights == tmp_path / "my-own.gguf"


def test_folders_are_where_the_environment_says(tmp_path: Path):
    (tmp_path / "lm" / "deep").mkdir(parents=True)
    (tmp_path / ".lmstudio-home-pointer").write_text(f"{tmp_path}/lm\n")
    usual = places({"HOME": str(tmp_path)})
    assert usual.ollama == (tmp_path / ".ollama" / "models", Path("/usr/share/ollama/.ollama/models"))
    assert usual.hub == (tmp_path / ".cache" / "huggingface" / "hub",)
    assert usual.llama_cpp == (tmp_path / ".cache" / "llama.cpp",)
    assert usual.lm_studio == (tmp_path / "lm" / "models",)
    (tmp_path / "lm" / "settings.json").write_text('{"downloadsFolder": "/big/disk"}')
    told = places(
        {"HOME": str(tmp_path), "DOCKER_CONFIG": "/d", "OLLAMA_MODELS": " '/m' ", "HF_HOME": "/hf", "LLAMA_CACHE": "/l"}
    )
    assert told == Places(
        ollama=(Path("/m"),),
        hub=(Path("/hf/hub"),),
        lm_studio=(Path("/big/disk"),),
        llama_cpp=(Path("/l"),),
        logins=(Path("/d/config.json"), tmp_path / ".config" / "containers" / "auth.json"),
        moved=(Path("/m"), Path("/hf/hub"), Path("/big/disk"), Path("/l")),
    )
    older = {"HOME": str(tmp_path), "HUGGINGFACE_HUB_CACHE": "/old", "HF_HOME": "/hf"}
    assert places(older).hub == (Path("/old"),)
    assert places({**older, "HF_HUB_CACHE": "/hub"}).hub == (Path("/hub"),)


@pytest.mark.parametrize("settings", ["", "{", "[]", '{"downloadsFolder": 1}'])
def test_settings_of_lm_studio_that_say_nothing_do_no_harm(tmp_path: Path, settings: str):
    (tmp_path / ".lmstudio").mkdir()
    (tmp_path / ".lmstudio" / "settings.json").write_text(settings)
    assert places({"HOME": str(tmp_path)}).lm_studio[0] == tmp_path / ".lmstudio" / "models"


def test_folders_that_are_not_there_have_no_models(tmp_path: Path):
    assert stores_in(places({"HOME": str(tmp_path / "nobody"), "OLLAMA_MODELS": str(tmp_path / "gone")})).all() == []


def add_to_lm_studio(root: Path, files: dict[str, bytes]) -> Path:
    folder = root / "org" / "r"
    add_files(folder, files)
    return folder


def add_to_llama_cpp(root: Path, files: dict[str, bytes]) -> Path:
    add_files(root, files)
    return root


@pytest.mark.parametrize(
    ("make", "add"),
    [
        (HubStore, lambda root, files: add_to_hub_cache(root, "org/r", files)),
        (LmStudioStore, add_to_lm_studio),
        (LlamaCppStore, add_to_llama_cpp),
    ],
    ids=["hub", "lm studio", "llama.cpp"],
)
def test_models_are_the_same_objects_until_a_file_comes_changes_or_goes(
    tmp_path: Path, make: Callable[[Path], Store], add: Callable[[Path, dict[str, bytes]], Path]
):
    store = make(tmp_path)
    folder = add(tmp_path, {"m-Q4_0.gguf": b"GGUF 1"})
    first = list(store.models())
    assert [model is known for model, known in zip(store.models(), first, strict=True)] == [True]
    add(tmp_path, {"m-Q8_0.gguf": b"GGUF 2"})
    assert len(list(store.models())) == 2
    (folder / "m-Q4_0.gguf").write_bytes(b"GGUF longer")
    assert {model.is_current for model in store.models()} == {True}
    (folder / "m-Q8_0.gguf").unlink()
    assert [model.manifest for model in store.models()] == [first[0].manifest]
