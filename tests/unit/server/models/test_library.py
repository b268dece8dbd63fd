"""What a model is said to be able to do, when it changed, and how it is told from others."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from oprel.core.config import Config
from oprel.core.configuration import installation
from oprel.core.exceptions import InvalidModelError, ModelNotFoundError, ReinstalledError
from oprel.core.models.manifests import Manifest, Manifests
from oprel.core.names import ModelRef
from oprel.formats.gguf import GGUFFile, Value, read_gguf
from oprel.server.models.installed_model import InstalledModel
from oprel.server.models.library import Library, named
from tests.fixtures.gguf_factory import write_tiny_gguf
from tests.fixtures.gguf_parts import write_projector

LONG_AGO = datetime(2024, 1, 1).astimezone()


@pytest.fixture
def header(tiny: Path) -> GGUFFile:
    return read_gguf(tiny)


def model(
    header: GGUFFile, manifest: Manifest | None = None, metadata: Mapping[str, Value] | None = None
) -> InstalledModel:
    """A model whose header says `metadata` too."""
    changed = replace(header, metadata={**header.metadata, **(metadata or {})})
    return InstalledModel(
        name="m:latest",
        manifest=manifest or Manifest(name="m:latest", weights=header.path),
        header=changed,
        modified=LONG_AGO,
    )


def test_a_plain_model_completes(header: GGUFFile):
    assert model(header).capabilities == ["completion"]
    assert model(header).fim_tokens is None


def test_an_embedding_model_embeds_and_a_reranker_ranks(header: GGUFFile):
    embedding, reranker = (model(header, metadata={"llama.pooling_type": kind}) for kind in (1, 4))
    assert (embedding.capabilities, embedding.reranks) == (["embedding"], False)
    assert reranker.reranks


@pytest.mark.parametrize("keys", [("fim_pre", "fim_suf", "fim_mid"), ("prefix", "suffix", "middle")])
def test_tokens_for_a_gap_let_it_insert(header: GGUFFile, keys: tuple[str, ...]):
    tokens: dict[str, Value] = {f"tokenizer.ggml.{key}_token_id": number for number, key in enumerate(keys, 5)}
    assert model(header, metadata=tokens).fim_tokens == (5, 6, 7)
    assert model(header, metadata=tokens).capabilities == ["completion", "insert"]
    tokens.popitem()
    assert model(header, metadata=tokens).fim_tokens is None


def test_what_the_template_mentions_it_can(header: GGUFFile):
    template = "{% if tools %}{{ tools }}{% endif %}{% if enable_thinking %}<think>{% endif %}"
    assert model(header, metadata={"tokenizer.chat_template": template}).capabilities == [
        "completion",
        "tools",
        "thinking",
    ]


def test_the_manifest_s_template_counts_before_the_file_s(header: GGUFFile):
    manifest = Manifest(name="m:latest", weights=header.path, template="{{ .Prompt }}", projector=Path("/mmproj.gguf"))
    plain = model(header, manifest, {"tokenizer.chat_template": "{{ tools }}"})
    assert plain.capabilities == ["completion", "vision"]
    with_tools = replace(manifest, template="{{ range .Messages }}{{ .Content }}{{ end }}{{ .Tools }}")
    assert "tools" in model(header, with_tools).capabilities


def test_jinja_is_a_template_too(header: GGUFFile):
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    assert model(header, Manifest(name="m:latest", weights=header.path, template=template)).chat_template == template


def test_a_template_that_cannot_be_translated_is_not_used(header: GGUFFile):
    odd = model(header, Manifest(name="m:latest", weights=header.path, template="{{ currentDate }}"))
    assert odd.chat_template == header.chat_template


def test_the_time_of_change_is_that_of_the_manifest(header: GGUFFile):
    assert model(header).changed == LONG_AGO
    assert model(header, Manifest(name="m:latest", weights=header.path, written=86_400.0)).changed.timestamp() == 86_400


def test_a_copy_has_the_digest_of_its_source(header: GGUFFile):
    source = Manifest(name="m:latest", weights=header.path, system="Be kind.", written=1.0)
    copy = Manifest(name="n:latest", weights=header.path, system="Be kind.", written=2.0)
    other = Manifest(name="m:latest", weights=header.path, system="Be brief.", written=1.0)
    digests = [model(header, manifest).digest for manifest in (source, copy, other)]
    assert digests[0] == digests[1] != digests[2]


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(Config(home=str(tmp_path / "home")))


async def names(library: Library) -> list[str]:
    """The listed models, but for the one that comes with oprel."""
    usable = await library.survey(lambda models: models.usable)
    return [model.name for model in usable if model.name != "guide:latest"]


async def test_a_header_is_read_again_when_its_file_changes(library: Library, tmp_path: Path):
    path = write_tiny_gguf(tmp_path / "m.gguf")
    library.manifests.put(Manifest(name="m:latest", weights=path))
    assert (await library.find("m", may_use_paths=False)).header.name == "Tiny"
    write_tiny_gguf(path, name="Another")
    assert (await library.find("m", may_use_paths=False)).header.name == "Another"


async def test_a_model_without_its_file_is_not_listed(library: Library, tmp_path: Path, tiny: Path):
    library.manifests.put(Manifest(name="there:latest", weights=tiny))
    library.manifests.put(Manifest(name="gone:latest", weights=tmp_path / "gone.gguf"))
    assert await names(library) == ["there:latest"]
    with pytest.raises(InvalidModelError, match="the file of model 'gone:latest' cannot be read"):
        await library.find("gone", may_use_paths=False)


async def test_every_file_of_a_model_counts_and_must_be_there(library: Library, tmp_path: Path, header: GGUFFile):
    tiny = header.path
    adapter, projector, parts = tmp_path / "lora.gguf", tmp_path / "mmproj.gguf", (tmp_path / "1.gguf", tiny)
    adapter.write_bytes(bytes(1))
    eye = write_projector(projector).stat().st_size
    part = write_tiny_gguf(parts[0]).stat().st_size
    library.manifests.put(Manifest(name="all:latest", weights=tiny, adapters=(adapter,), projector=projector))
    library.manifests.put(Manifest(name="parted:latest", weights=tiny, parts=parts))
    sizes = [(await library.find(name, may_use_paths=False)).size_bytes for name in ("all", "parted")]
    assert sizes == [header.size_bytes + 1 + eye, header.size_bytes + part]
    adapter.unlink()
    with pytest.raises(InvalidModelError, match="the file of model 'all:latest' cannot be read") as caught:
        await library.find("all", may_use_paths=False)
    assert str(adapter) in caught.value.resolution_steps[0]


@pytest.mark.parametrize("name", ["nonesuch", "a b", "/etc/passwd", ""])
async def test_whatever_is_no_model_is_not_found(library: Library, name: str):
    with pytest.raises(ModelNotFoundError, match=f"model '{name}' not found"):
        await library.find(name, may_use_paths=True)


async def test_a_bundled_model_that_went_with_the_installation_is_not_called_unknown(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(installation, "was_replaced", lambda: True)
    with pytest.raises(ModelNotFoundError):
        await library.find("nonesuch", may_use_paths=True)
    library.manifests = Manifests(tmp_path / "models", bundled=tmp_path / "moved")
    with pytest.raises(ReinstalledError, match="guide"):
        await library.find("guide", may_use_paths=True)


def test_a_copy_has_everything_but_the_name(library: Library, tiny: Path):
    source = Manifest(name="m:latest", weights=tiny, system="Be kind.", parameters={"top_k": 5})
    library.manifests.put(source)
    assert library.copy(ModelRef.parse("m"), ModelRef.parse("copy")) == replace(source, name="copy:latest")
    assert library.manifests.get(ModelRef.parse("copy")) == replace(source, name="copy:latest")
    with pytest.raises(ModelNotFoundError):
        library.copy(ModelRef.parse("nonesuch"), ModelRef.parse("copy"))


def test_a_bundled_model_can_be_copied(library: Library):
    library.copy(ModelRef.parse("guide"), ModelRef.parse("mine"))
    assert library.manifests.get(ModelRef.parse("mine")).weights.name == "guide.gguf"


def test_a_loaded_model_is_named_as_an_installed_one(header: GGUFFile):
    models = [model(header, Manifest(name=name, weights=header.path)) for name in ("m:latest", "hf.co/org/repo:Q8_0")]
    names = {name: named(name, models) for name in ("M", "hf.co/Org/repo", "hf.co/org/repo:Q4_0", "other", "a b")}
    assert [each and each.manifest.name for each in names.values()] == ["m:latest", "hf.co/org/repo:Q8_0", *[None] * 3]
