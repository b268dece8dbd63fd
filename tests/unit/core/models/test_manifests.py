"""Names on disk, and beside them the models that come with the package."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from oprel.core.exceptions import InvalidModelError, ModelNotFoundError, OprelError, UnsupportedError
from oprel.core.models.manifests import Manifest, Manifests
from oprel.core.models.modelfile import Modelfile, parse, render
from oprel.core.names import ModelRef

FULL = Manifest(
    name="user/Tiny:q4",
    weights=Path("/models/tiny.gguf"),
    system="Be kind.",
    parameters={"temperature": 0.5, "stop": ["a", "b"], "use_mmap": False},
    messages=(("user", "hello"), ("assistant", "good day")),
    license="Apache-2.0",
    template="{{ .Prompt }}",
    adapters=(Path("/models/lora.gguf"),),
    projector=Path("/models/mmproj.gguf"),
    parts=(Path("/models/one.gguf"), Path("/models/two.gguf")),
    parent="tiny:latest",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def manifests(folder: Path, tmp_path: Path) -> Manifests:
    """None of its own yet; `smol` comes bundled."""
    bundled = tmp_path / "bundled"
    bundled.mkdir()
    (bundled / "smol.gguf").touch()
    return Manifests(folder, bundled)


def names(manifests: Manifests) -> list[str]:
    return sorted(manifest.name for manifest in manifests)


def test_what_was_put_is_got_back_whole(manifests: Manifests) -> None:
    manifests.put(FULL)
    assert manifests.get(ModelRef.parse("user/Tiny:q4")) == FULL
    assert names(manifests) == ["smol:latest", "user/Tiny:q4"]


def test_case_makes_no_second_name_and_no_second_spelling(manifests: Manifests) -> None:
    manifests.put(Manifest(name="Tiny:latest", weights=Path("/old.gguf")))
    manifests.put(Manifest(name="tiny:LATEST", weights=Path("/new.gguf")))
    assert manifests.get(ModelRef.parse("TINY")).weights == Path("/new.gguf")
    assert names(manifests) == ["Tiny:latest", "smol:latest"]


LONG_NAMES = ("library/tiny", "registry.ollama.ai/library/tiny:latest", "https://registry.ollama.ai/library/Tiny")


@pytest.mark.parametrize("long", LONG_NAMES)
def test_ollamas_long_names_mean_the_short_one(manifests: Manifests, long: str) -> None:
    manifests.put(Manifest(name=long, weights=Path("/a.gguf")))
    assert manifests.get(ModelRef.parse("tiny")).weights == Path("/a.gguf")
    assert {name.lower() for name in names(manifests)} == {"smol:latest", "tiny:latest"}
    manifests.put(Manifest(name="tiny", weights=Path("/b.gguf")))
    assert manifests.get(ModelRef.parse(long)).weights == Path("/b.gguf")
    manifests.delete(ModelRef.parse(long))
    assert names(manifests) == ["smol:latest"]


@pytest.mark.parametrize("written", ["library/tiny:latest", "registry.ollama.ai/library/tiny:latest"])
def test_a_model_that_an_earlier_version_kept_under_a_long_name_stays(
    manifests: Manifests, folder: Path, written: str
) -> None:
    manifests.put(Manifest(name="tiny", weights=Path("/a.gguf")))
    old = folder / f"{quote(written, safe='')}.json"
    (folder / f"{quote('tiny:latest', safe='')}.json").rename(old)
    old.write_text(old.read_text().replace("tiny:latest", written))
    for name in ("tiny", written):
        assert manifests.get(ModelRef.parse(name)).name == "tiny:latest"
    manifests.put(Manifest(name="tiny", weights=Path("/b.gguf")))
    assert names(manifests) == ["smol:latest", "tiny:latest"] and not old.exists()


def test_a_name_with_slashes_and_colons_is_one_file(manifests: Manifests, folder: Path) -> None:
    manifests.put(Manifest(name="box:5000/user/tiny:q4", weights=Path("/tiny.gguf")))
    assert [file.parent for file in folder.rglob("*")] == [folder]
    assert manifests.get(ModelRef.parse("box:5000/user/tiny:q4")).weights == Path("/tiny.gguf")


def test_another_daemon_finds_it(manifests: Manifests, folder: Path) -> None:
    manifests.put(FULL)
    assert Manifests(folder).get(ModelRef.parse(FULL.name)) == FULL


def test_a_path_needs_no_manifest(manifests: Manifests) -> None:
    assert manifests.get(ModelRef.parse("/any.gguf")) == Manifest(name="/any.gguf", weights=Path("/any.gguf"))


def test_an_unknown_name_is_not_found(manifests: Manifests) -> None:
    with pytest.raises(ModelNotFoundError, match="model 'nonesuch:latest' not found"):
        manifests.get(ModelRef.parse("nonesuch"))


def test_a_bundled_model_is_found_until_a_name_overrides_it(manifests: Manifests, tmp_path: Path) -> None:
    smol = ModelRef.parse("Smol")
    assert manifests.get(smol) == Manifest(
        name="smol:latest", weights=tmp_path / "bundled" / "smol.gguf", provider="bundled"
    )
    manifests.put(Manifest(name="smol:latest", weights=Path("/mine.gguf")))
    assert manifests.get(smol).weights == Path("/mine.gguf")
    assert [manifest.weights for manifest in manifests] == [Path("/mine.gguf")]


DAMAGE = {
    "empty": "",
    "half": '{"name": "bad',
    "a list": "[1, 2]",
    "without weights": '{"name": "bad:latest"}',
    "of wrong types": '{"name": "bad:latest", "weights": 5}',
    "a bad message": '{"name": "bad:latest", "weights": "/m.gguf", "messages": [["user"]]}',
}


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_manifest_hides_only_itself(manifests: Manifests, folder: Path, content: str) -> None:
    manifests.put(FULL)
    damaged = folder / "bad%3Alatest.json"
    damaged.write_text(content)
    assert names(manifests) == ["smol:latest", FULL.name]
    with pytest.raises(InvalidModelError) as caught:
        manifests.get(ModelRef.parse("bad"))
    assert str(damaged) in caught.value.message and str(damaged) in caught.value.resolution_steps[0]


def test_its_modelfile_says_everything(manifests: Manifests) -> None:
    assert parse(render(FULL.modelfile())) == Modelfile(
        from_="/models/tiny.gguf",
        also_from=("/models/mmproj.gguf",),
        adapters=("/models/lora.gguf",),
        template="{{ .Prompt }}",
        system="Be kind.",
        parameters=FULL.parameters,
        messages=FULL.messages,
        licenses=("Apache-2.0",),
    )
    assert render(Manifest(name="plain:latest", weights=Path("/m.gguf")).modelfile()) == "FROM /m.gguf\n"


def test_a_manifest_of_an_earlier_oprel_is_read(manifests: Manifests, folder: Path) -> None:
    folder.mkdir()
    (folder / "old%3Alatest.json").write_text('{"name": "old:latest", "weights": "/m.gguf", "system": "Be kind."}')
    assert manifests.get(ModelRef.parse("old")) == Manifest(
        name="old:latest", weights=Path("/m.gguf"), system="Be kind."
    )


def test_paths_within_the_home_and_the_package_move_with_them(
    manifests: Manifests, folder: Path, tmp_path: Path
) -> None:
    smol, lora = tmp_path / "bundled" / "smol.gguf", folder / "blobs" / "sha256-0"
    manifests.put(Manifest(name="mine:latest", weights=smol, adapters=(lora,), projector=lora, parts=(lora,)))
    moved = Manifests(folder.rename(tmp_path / "elsewhere"), (tmp_path / "bundled").rename(tmp_path / "package"))
    lora = tmp_path / "elsewhere" / "blobs" / "sha256-0"
    assert moved.get(ModelRef.parse("mine")) == Manifest(
        name="mine:latest", weights=tmp_path / "package" / "smol.gguf", adapters=(lora,), projector=lora, parts=(lora,)
    )


@pytest.mark.parametrize("within", [f"models--org--m/snapshots/{'c' * 40}/a/m.gguf", f"urls/{'a' * 32}/m.gguf"])
def test_downloaded_files_are_found_where_their_folder_was_moved(
    manifests: Manifests, folder: Path, tmp_path: Path, within: str
) -> None:
    before, now = tmp_path / "one", tmp_path / "two"
    (before / within).parent.mkdir(parents=True)
    (before / within).touch()
    manifests.put(Manifest(name="mine:latest", weights=before / within, parts=(before / within,)))
    later = Manifests(folder, fetched=(tmp_path / "none", now))
    assert later.get(ModelRef.parse("mine")).weights == before / within  # cache_dir is new, the file is not
    before.rename(now)
    moved = later.get(ModelRef.parse("mine"))
    assert (moved.weights, moved.parts) == (now / within, (now / within,))
    assert later.uses().may_include(now / within)


def test_a_deleted_name_is_unknown(manifests: Manifests, folder: Path) -> None:
    manifests.put(FULL)
    manifests.delete(ModelRef.parse("USER/tiny:Q4"))
    assert list(folder.iterdir()) == []
    with pytest.raises(ModelNotFoundError):
        manifests.delete(ModelRef.parse(FULL.name))


def test_a_bundled_model_stays_also_when_what_hides_it_is_deleted(manifests: Manifests) -> None:
    manifests.put(Manifest(name="smol:latest", weights=Path("/mine.gguf")))
    manifests.delete(ModelRef.parse("smol"))
    with pytest.raises(UnsupportedError, match="smol:latest comes with oprel and cannot be deleted"):
        manifests.delete(ModelRef.parse("smol"))
    assert names(manifests) == ["smol:latest"]


def test_a_damaged_manifest_can_be_deleted(manifests: Manifests, folder: Path) -> None:
    folder.mkdir()
    (folder / "bad%3Alatest.json").write_text("{")
    manifests.delete(ModelRef.parse("bad"))
    assert list(folder.iterdir()) == []


BLOBS = [f"sha256-{number * 64}" for number in "123"]


def test_the_files_of_readable_manifests_are_used_and_no_others(manifests: Manifests, folder: Path) -> None:
    manifests.put(Manifest(name="one:latest", weights=folder / "blobs" / BLOBS[0], adapters=(Path("/lora.gguf"),)))
    uses = manifests.uses()
    assert [uses.may_include_blob(name) for name in BLOBS] == [True, False, False]
    assert [uses.may_include(Path(path)) for path in ("/lora.gguf", "/other.gguf")] == [True, False]


def test_files_in_fields_of_a_later_version_are_used(manifests: Manifests, folder: Path, tmp_path: Path) -> None:
    drafts = tmp_path / "drafts"
    drafts.mkdir()
    (drafts / "one.gguf").touch()
    folder.mkdir()
    content = {
        "name": "new:latest",
        "weights": "/m.gguf",
        "speculation": [{"draft": "/d.gguf", "more": str(drafts)}],
        "layers": {"digest": BLOBS[1].replace("-", ":").upper()},
    }
    (folder / "new%3Alatest.json").write_text(json.dumps(content))
    uses = manifests.uses()
    assert uses.unreadable == ()
    assert uses.may_include(Path("/d.gguf")) and uses.may_include(drafts / "one.gguf")
    assert [uses.may_include_blob(name) for name in BLOBS] == [False, True, False]


@pytest.mark.parametrize(("kind", "content"), DAMAGE.items(), ids=DAMAGE)
def test_a_manifest_that_cannot_be_read_may_use_any_file(
    manifests: Manifests, folder: Path, kind: str, content: str
) -> None:
    folder.mkdir()
    (folder / "bad%3Alatest.json").write_text(content)
    uses = manifests.uses()
    assert uses.unreadable == (folder / "bad%3Alatest.json",)
    assert uses.may_include(Path("/other.gguf"))
    # A whole one, of a later version, names its blobs by their digests.
    assert uses.may_include_blob(BLOBS[0]) == (kind in ("empty", "half", "a list"))


def test_a_manifest_that_cannot_be_opened_may_use_any_file(manifests: Manifests, folder: Path) -> None:
    (folder / "bad%3Alatest.json").mkdir(parents=True)
    uses = manifests.uses()
    assert uses.may_include(Path("/other.gguf")) and uses.may_include_blob(BLOBS[0])


def test_what_cannot_be_written_is_told(manifests: Manifests, folder: Path) -> None:
    folder.write_text("a file is in the way")
    with pytest.raises(OprelError, match="the model user/Tiny:q4 cannot be saved: File exists"):
        manifests.put(FULL)


def test_what_is_no_manifest_is_left_alone(manifests: Manifests, folder: Path) -> None:
    manifests.put(FULL)
    (folder / "notes.txt").write_text("mine")
    (folder / ".bad%3Alatest.json.x1y2").write_text("left over by a crash")
    assert names(manifests) == ["smol:latest", FULL.name]


def test_a_name_is_replaced_in_one_step(manifests: Manifests, folder: Path) -> None:
    manifests.put(FULL)
    [file] = folder.iterdir()
    with file.open() as reader:
        manifests.put(Manifest(name=FULL.name, weights=Path("/new.gguf")))
        assert json.load(reader)["weights"] == str(FULL.weights)
    assert list(folder.iterdir()) == [file]


def hub_model(tag: str, chosen: float = 0.0) -> Manifest:
    return Manifest(
        name=f"hf.co/Org/Repo:{tag}", weights=Path(f"/hub/sub/m-{tag}.gguf"), source="hf.co/Org/Repo", chosen=chosen
    )


@pytest.mark.parametrize(
    "asked",
    [
        *("hf.co/Org/Repo", "Org/Repo", "huggingface.co/org/repo", "hf.co/org/repo:q4_k_xl", "org/repo:UD-q4_k_xl"),
        "hf.co/Org/Repo:sub/m-UD-Q4_K_XL.gguf",
    ],
)
def test_a_repository_s_model_is_found_however_it_is_called(manifests: Manifests, asked: str) -> None:
    manifests.put(hub_model("UD-Q4_K_XL"))
    assert manifests.get(ModelRef.parse(asked)) == hub_model("UD-Q4_K_XL")
    manifests.delete(ModelRef.parse(asked))
    assert names(manifests) == ["smol:latest"]


@pytest.mark.parametrize(
    "asked", ["Org/Repo:Q8_0", "Org/Other", "Org/Repo2", "hf.co/Org/Repo:m.gguf", "Repo", "box:5000/Org/Repo"]
)
def test_no_other_model_is_taken_for_it(manifests: Manifests, asked: str) -> None:
    manifests.put(hub_model("Q4_K_M"))
    with pytest.raises(ModelNotFoundError):
        manifests.get(ModelRef.parse(asked))


def test_of_several_the_repository_s_name_means_the_one_that_was_chosen_last(manifests: Manifests) -> None:
    manifests.put(hub_model("Q8_0"))
    manifests.put(hub_model("Q6_K"))
    with pytest.raises(ModelNotFoundError):
        manifests.get(ModelRef.parse("Org/Repo"))
    manifests.put(hub_model("Q6_K", chosen=1.0))
    manifests.put(hub_model("Q8_0", chosen=2.0))
    manifests.put(hub_model("Q6_K"))  # pulled again by its own name
    assert manifests.get(ModelRef.parse("Org/Repo")).name == "hf.co/Org/Repo:Q8_0"
    manifests.delete(ModelRef.parse("Org/Repo"))
    assert manifests.get(ModelRef.parse("Org/Repo")).name == "hf.co/Org/Repo:Q6_K"


def test_a_model_of_that_very_name_goes_before(manifests: Manifests) -> None:
    manifests.put(hub_model("Q8_0", chosen=1.0))
    manifests.put(Manifest(name="Org/Repo:latest", weights=Path("/mine.gguf")))
    assert manifests.get(ModelRef.parse("org/repo")).weights == Path("/mine.gguf")
    assert manifests.get(ModelRef.parse("hf.co/org/repo")).weights == hub_model("Q8_0").weights


def test_a_long_name_of_a_repository_s_model_is_found_too(manifests: Manifests) -> None:
    name = f"hf.co/{'o' * 80}/{'r' * 96}"
    manifests.put(replace(hub_model("Q8_0"), name=f"{name}:Q8_0"))
    assert manifests.get(ModelRef.parse(name)).name == f"{name}:Q8_0"


def test_a_name_that_a_pull_found_a_better_one_for_goes(manifests: Manifests) -> None:
    manifests.put(replace(hub_model("Q8_0"), name="hf.co/Org/Repo:latest"))
    manifests.put(hub_model("Q8_0"), instead_of=[ModelRef.parse("hf.co/Org/Repo")])
    manifests.put(hub_model("Q8_0"), instead_of=[ModelRef.parse("hf.co/Org/Repo:q8_0")])
    assert names(manifests) == ["hf.co/Org/Repo:Q8_0", "smol:latest"]


@pytest.mark.parametrize(
    "make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path)], ids=["folder", "FIFO", "loop"]
)
def test_what_is_in_the_place_of_a_manifest_is_damaged_and_can_be_removed(
    manifests: Manifests, folder: Path, make: Callable[[Path], object]
) -> None:
    folder.mkdir()
    make(folder / "bad%3Alatest.json")
    with pytest.raises(InvalidModelError, match="cannot be read"):
        manifests.get(ModelRef.parse("bad"))
    assert manifests.delete(ModelRef.parse("bad")) == "bad:latest"
    assert manifests.uses().unreadable == ()
    manifests.put(replace(FULL, name="bad:latest"))
    assert manifests.get(ModelRef.parse("bad")).name == "bad:latest"
