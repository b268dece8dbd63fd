"""Models made of others and of uploaded files."""

import hashlib
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from oprel.core.config import Config
from oprel.core.exceptions import InvalidModelError, ModelNotFoundError, OprelError, UnsupportedError, ValidationError
from oprel.core.models.manifests import Manifest
from oprel.core.names import ModelRef
from oprel.server.models.create import ModelRecipe, create
from oprel.server.models.installed_model import InstalledModel
from oprel.server.models.library import Library
from tests.fixtures.gguf_factory import scalar, text

NEW = ModelRef.parse("new")


def gguf(architecture: str, metadata: Mapping[str, str | int] | None = None) -> bytes:
    """A file of metadata alone."""
    every = {"general.architecture": architecture, **(metadata or {})}
    entries = b"".join(text(key) + scalar(value) for key, value in every.items())
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(every)) + entries


MODEL = gguf("llama")
WITH_TEMPLATE = gguf("llama", {"tokenizer.chat_template": "{{ messages }}"})
PROJECTOR = gguf("clip")
ADAPTER = gguf("llama", {"general.type": "adapter"})
PARTS = [gguf("llama", {"split.no": number, "split.count": 3}) for number in range(3)]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(home=str(tmp_path / "home"))


@pytest.fixture
def library(config: Config) -> Library:
    return Library(config)


async def uploaded(library: Library, **files: bytes) -> dict[str, str]:
    """The files as `POST /api/create` names them."""

    async def content(data: bytes):
        yield data

    digests = {name: f"sha256:{hashlib.sha256(data).hexdigest()}" for name, data in files.items()}
    for name, data in files.items():
        await library.blobs.add(digests[name], content(data))
    return digests


async def created(library: Library, recipe: ModelRecipe) -> list[str]:
    """The steps."""
    return [step.status async for step in create(library, Config(home="/nonexistent"), recipe)]


async def made(library: Library, recipe: ModelRecipe) -> InstalledModel:
    assert (await created(library, recipe))[-2:] == ["writing manifest", "success"]
    return await library.find(recipe.name.text, may_use_paths=False)


async def refused(library: Library, recipe: ModelRecipe) -> OprelError:
    """The error, which must come before the first step and leave no model."""
    with pytest.raises(OprelError) as caught:
        await anext(create(library, Config(home="/nonexistent"), recipe))
    with pytest.raises(ModelNotFoundError):
        library.manifests.get(recipe.name)
    return caught.value


@pytest.fixture
def base(library: Library, tmp_path: Path) -> Manifest:
    """A model with everything, called `base`."""
    for name, content in (("base", MODEL), ("lora", ADAPTER), ("mmproj", PROJECTOR)):
        (tmp_path / f"{name}.gguf").write_bytes(content)
    return library.manifests.put(
        Manifest(
            name="base:latest",
            weights=tmp_path / "base.gguf",
            system="Be kind.",
            parameters={"temperature": 0.5, "stop": ["a"]},
            messages=(("user", "hello"),),
            license="MIT",
            template="{{ .Prompt }}",
            adapters=(tmp_path / "lora.gguf",),
            projector=tmp_path / "mmproj.gguf",
        )
    )


async def test_what_is_not_said_is_inherited(library: Library, base: Manifest):
    model = await made(library, ModelRecipe(name=NEW, source="BASE", system="Be brief."))
    assert model.manifest == Manifest(
        name="new:latest",
        weights=base.weights,
        system="Be brief.",
        parameters=base.parameters,
        messages=base.messages,
        license="MIT",
        template=base.template,
        adapters=base.adapters,
        projector=base.projector,
        parent="base:latest",
    )


async def test_parameters_are_added_and_messages_replaced(library: Library, base: Manifest):
    recipe = ModelRecipe(
        name=NEW, source="base", parameters={"stop": ["b"], "seed": 1}, messages=(("user", "bye"),), license="BSD"
    )
    manifest = (await made(library, recipe)).manifest
    assert manifest.parameters == {"temperature": 0.5, "stop": ["b"], "seed": 1}
    assert (manifest.messages, manifest.license) == ((("user", "bye"),), "BSD")


async def test_an_empty_text_takes_the_inherited_one_away(library: Library, base: Manifest):
    assert (await made(library, ModelRecipe(name=NEW, source="base", system="", template=""))).manifest.system == ""


async def test_a_model_may_be_made_of_itself(library: Library, base: Manifest):
    model = await made(library, ModelRecipe(name=ModelRef.parse("BASE"), source="base", system="New."))
    assert (model.name, model.manifest.system, model.manifest.license) == ("base:latest", "New.", "MIT")


async def test_a_path_is_a_source_for_its_own_user_only(library: Library, base: Manifest):
    model = await made(library, ModelRecipe(name=NEW, source=str(base.weights), may_use_paths=True))
    assert (model.weights, model.manifest.parent) == (base.weights, "")
    refusal = await refused(
        library, ModelRecipe(name=ModelRef.parse("other"), source=str(base.weights), may_use_paths=False)
    )
    assert isinstance(refusal, ModelNotFoundError)


async def test_an_unknown_source_is_not_found(library: Library):
    assert (await refused(library, ModelRecipe(name=NEW, source="nonesuch"))).message == "model 'nonesuch' not found"


async def test_a_file_becomes_a_model(library: Library):
    files = await uploaded(library, model=MODEL)
    assert await created(library, ModelRecipe(name=NEW, files=files)) == [
        "parsing GGUF",
        f"using existing layer {files['model']}",
        "writing manifest",
        "success",
    ]
    model = await library.find("new", may_use_paths=False)
    assert model.weights == library.blobs.path(files["model"])
    assert model.capabilities == ["completion"]


async def test_a_projector_lets_it_see(library: Library):
    files = await uploaded(library, mmproj=PROJECTOR, model=MODEL)
    model = await made(library, ModelRecipe(name=NEW, files=files))
    assert model.manifest.projector == library.blobs.path(files["mmproj"])
    assert model.capabilities == ["completion", "vision"]


async def test_a_projector_and_adapters_are_added_to_a_model(library: Library, base: Manifest):
    files = await uploaded(library, mmproj=PROJECTOR, lora=ADAPTER)
    recipe = ModelRecipe(name=NEW, source="base", files={"mmproj": files["mmproj"]}, adapters={"lora": files["lora"]})
    manifest = (await made(library, recipe)).manifest
    assert manifest.weights == base.weights
    assert manifest.projector == library.blobs.path(files["mmproj"])
    assert manifest.adapters == (library.blobs.path(files["lora"]),)


async def test_parts_become_one_model(library: Library):
    files = await uploaded(library, c=PARTS[2], a=PARTS[0], b=PARTS[1])
    manifest = (await made(library, ModelRecipe(name=NEW, files=files))).manifest
    assert manifest.parts == tuple(library.blobs.path(files[name]) for name in "abc")
    assert manifest.weights.name == "model-00001-of-00003.gguf"
    assert [path.resolve() for path in sorted(manifest.weights.parent.iterdir())] == list(manifest.parts)


@pytest.mark.parametrize("names", ["ab", "abcm", "bc", "b", "mn"])
async def test_what_is_not_one_model_is_refused(library: Library, names: str):
    content = {"a": PARTS[0], "b": PARTS[1], "c": PARTS[2], "m": MODEL, "n": gguf("bert")}
    files = await uploaded(library, **{name: content[name] for name in names})
    refusal = await refused(library, ModelRecipe(name=NEW, files=files))
    assert refusal.message == f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} not one complete model"


WRONG: dict[str, dict[str, Any]] = {
    "neither 'from' or 'files' was specified": {},
    "both 'from' and a model in 'files' (model) were specified": {"source": "base", "files": {"model": MODEL}},
    "there is no model among the files": {"files": {"mmproj": PROJECTOR}},
    "there is more than one projector among the files": {
        "files": {"a": PROJECTOR, "b": gguf("clip", {"general.name": "2"}), "model": MODEL}
    },
    "model is not an adapter": {"source": "base", "adapters": {"model": MODEL}},
    "lora is an adapter for bert, not for llama": {
        "source": "base",
        "adapters": {"lora": gguf("bert", {"general.type": "adapter"})},
    },
    "file path must be relative": {"files": {"/etc/model.gguf": MODEL}},
    "model.safetensors is not a GGUF file": {"files": {"model.safetensors": b"\x10\0\0\0\0\0\0\0{}"}},
    "quantization is only supported for F16, BF16 and F32 models, and this one is unknown": {
        "source": "base",
        "quantize": "q4_K_M",
    },
}


@pytest.mark.parametrize("message", WRONG)
@pytest.mark.usefixtures("base")
async def test_a_wrong_recipe_is_refused_before_the_first_step(library: Library, message: str):
    wrong = dict(WRONG[message])
    for field in ("files", "adapters"):
        wrong[field] = await uploaded(library, **wrong.get(field, {}))
    refusal = await refused(library, ModelRecipe(name=NEW, **wrong))
    assert (refusal.message, refusal.http_status) == (message, 400)


async def test_a_path_that_leaves_its_folder_is_refused(library: Library):
    refusal = await refused(library, ModelRecipe(name=NEW, files=await uploaded(library, **{"../model.gguf": MODEL})))
    assert refusal.message == "file path must be relative"


async def test_a_blob_must_have_been_uploaded(library: Library):
    digest = f"sha256:{'0' * 64}"
    refusal = await refused(library, ModelRecipe(name=NEW, files={"model": digest}))
    assert refusal.message == f'blob "{digest}" does not exist'
    assert f"POST /api/blobs/{digest}" in refusal.resolution_steps[0]


async def test_a_damaged_file_is_told_by_its_own_name(library: Library, config: Config):
    refusal = await refused(library, ModelRecipe(name=NEW, files=await uploaded(library, model=MODEL[:-3])))
    assert isinstance(refusal, InvalidModelError)
    assert refusal.message.startswith("model") and config.home not in refusal.message


DATED = "{{ currentDate }}{{ .Prompt }}"


async def test_a_template_that_cannot_be_translated_gives_way_to_the_model_s_own(library: Library):
    steps = await created(
        library, ModelRecipe(name=NEW, files=await uploaded(library, model=WITH_TEMPLATE), template=DATED)
    )
    assert "the template has {{ currentDate }}, which cannot be translated: the model's own is used" in steps
    model = await library.find("new", may_use_paths=False)
    assert (model.manifest.template, model.chat_template) == (DATED, "{{ messages }}")


async def test_it_is_refused_when_the_model_has_none(library: Library):
    refusal = await refused(library, ModelRecipe(name=NEW, files=await uploaded(library, model=MODEL), template=DATED))
    assert isinstance(refusal, UnsupportedError)


async def test_a_template_that_is_wrong_is_refused(library: Library, base: Manifest):
    refusal = await refused(library, ModelRecipe(name=NEW, source="base", template="{{ if .Prompt }}"))
    assert isinstance(refusal, ValidationError)
    assert refusal.message == "template error: a block is never ended"


@pytest.mark.parametrize(
    ("template", "why"),
    [("{{ messages" + "(" * 100_000, "nested too deeply"), ("{{ messages }}" * 20_000, "more than 262,144 characters")],
)
async def test_a_template_beyond_measure_is_refused(library: Library, base: Manifest, template: str, why: str):
    refusal = await refused(library, ModelRecipe(name=NEW, source="base", template=template))
    assert isinstance(refusal, ValidationError) and why in refusal.message


async def test_what_was_ignored_is_told(library: Library, base: Manifest):
    assert "ignored x" in await created(library, ModelRecipe(name=NEW, source="base", notes=("ignored x",)))
