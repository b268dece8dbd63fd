"""Short names, the package's and the user's."""

from pathlib import Path

import pytest

from oprel.core.exceptions import ConfigError
from oprel.core.names import HubOrigin, ModelRef, Origin, RegistryOrigin
from oprel.downloader.aliases import Aliases

CODER = "Qwen/Qwen2.5-Coder-{}-Instruct-GGUF"


def origins(home: Path, name: str) -> tuple[Origin, ...]:
    return Aliases.load(home).origins(ModelRef.parse(name))


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("qwen2.5-coder", HubOrigin(CODER.format("7B"))),
        ("qwencoder", HubOrigin(CODER.format("7B"))),
        ("QwenCoder:14B", HubOrigin(CODER.format("14B"))),
        ("qwen2.5-coder:latest", HubOrigin(CODER.format("7B"))),
        ("qwen2.5-coder:7b-q5_k_m", HubOrigin(CODER.format("7B"), "Q5_K_M")),
        ("qwen2.5-coder:7b-instruct-q4_K_M", HubOrigin(CODER.format("7B"), "Q4_K_M")),
        ("qwen2.5-coder:7b-instruct-fp16", HubOrigin(CODER.format("7B"), "F16")),
        ("qwen2.5-coder:q8_0", HubOrigin(CODER.format("7B"), "Q8_0")),
        ("nomic-embed-text", HubOrigin("nomic-ai/nomic-embed-text-v1.5-GGUF")),
    ],
)
def test_a_short_name_is_a_repository(tmp_path: Path, name: str, origin: HubOrigin):
    assert origins(tmp_path, name) == (origin,)


@pytest.mark.parametrize("tag", ["9b", "7b-text", "7b-base-q4_0", "q9_9", "7b-q4_k_m-extra"])
def test_any_other_tag_is_a_name_as_any(tmp_path: Path, tag: str):
    expected = RegistryOrigin(host="registry.ollama.ai", namespace="library", model="qwen2.5-coder", tag=tag)
    assert origins(tmp_path, f"qwen2.5-coder:{tag}") == (expected, HubOrigin("qwen2.5-coder", tag.upper()))


@pytest.mark.parametrize("name", ["user/qwen2.5-coder", "box:5000/user/qwencoder:7b", "https://host/qwencoder.gguf"])
def test_a_name_with_more_parts_is_no_short_one(tmp_path: Path, name: str):
    assert HubOrigin(CODER.format("7B")) not in origins(tmp_path, name)


def test_there_are_many_and_each_says_what_it_is(tmp_path: Path):
    aliases = list(Aliases.load(tmp_path))
    assert len(aliases) >= 80
    assert [alias.name for alias in aliases if not (alias.about and alias.license)] == []


def test_no_name_is_two_models(tmp_path: Path):
    names = [name for alias in Aliases.load(tmp_path) for name in (alias.name, *alias.also)]
    assert len(names) == len({name.casefold() for name in names})


def test_a_user_s_own_go_before(tmp_path: Path):
    own = "qwencoder: {sizes: {1b: me/mine-GGUF}}\nmy-model: {sizes: {7B: me/other}, capabilities: [tools]}\n"
    (tmp_path / "aliases.yaml").write_text(own)
    assert origins(tmp_path, "qwencoder") == (HubOrigin("me/mine-GGUF"),)
    assert origins(tmp_path, "my-model:7b-q4_0") == (HubOrigin("me/other", "Q4_0"),)
    assert origins(tmp_path, "qwen2.5-coder") == (HubOrigin(CODER.format("7B")),)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[", "is not valid YAML"),
        ("- a", "must map model names"),
        ("m: 1", "m: it has no sizes"),
        ("m: {sizes: {}}", "m: it has no sizes"),
        ("m: {sizes: {7b: nonsense}}", "'nonsense' is not a repository"),
        ("m: {sizes: {7b: ../..}}", "'../..' is not a repository"),
        ("m: {sizes: {7b: a/b}, default: 8b}", "its default '8b' is not one of its sizes"),
        ("m: {sizes: {7b: a/b}, colour: red}", "'colour' is not a key"),
        ("m: {sizes: {7b: a/b}, capabilities: [flying]}", "'flying' is not a capability"),
        ("'a b': {sizes: {7b: a/b}}", "a b: it is not a model name"),
        ("m: {sizes: {7b: a/b}, also: [x/y]}", "x/y: it is not a model name"),
        ("../m: {sizes: {7b: a/b}}", "it is not a model name"),
    ],
)
def test_a_file_that_is_wrong_is_told_by_its_place(tmp_path: Path, content: str, said: str):
    (tmp_path / "aliases.yaml").write_text(content)
    with pytest.raises(ConfigError) as caught:
        Aliases.load(tmp_path)
    assert said in caught.value.message and str(tmp_path) in caught.value.message
