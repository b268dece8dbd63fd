"""What a text names: a model, a file, or nothing."""

from dataclasses import replace
from pathlib import Path

import pytest

from oprel.core.exceptions import ValidationError
from oprel.core.names import (
    HubOrigin,
    ModelRef,
    NameKind,
    RegistryOrigin,
    UrlOrigin,
    absolute,
    is_path,
    origins,
    spellings,
)

DEFAULTS = ("", "library/", "registry.ollama.ai/library/", "registry.ollama.ai/", "REGISTRY.ollama.ai/Library/")


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("tiny", "tiny:latest"),
        ("tiny:q4_K", "tiny:q4_K"),
        ("user/tiny", "user/tiny:latest"),
        ("user/tiny:1.5b", "user/tiny:1.5b"),
        ("box:5000/user/tiny:q4", "box:5000/user/tiny:q4"),
        ("llama3.2", "llama3.2:latest"),
        ("_a-b.c", "_a-b.c:latest"),
        ("m" * 80, "m" * 80 + ":latest"),
    ],
)
def test_a_name_has_a_tag(text: str, canonical: str) -> None:
    assert ModelRef.parse(text) == ModelRef(NameKind.NAME, canonical)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("./tiny.gguf", "/here/tiny.gguf"),
        ("./tiny", "/here/tiny"),
        ("tiny.gguf", "/here/tiny.gguf"),
        ("tiny.GGUF", "/here/tiny.GGUF"),
        ("folder/m.gguf", "/here/folder/m.gguf"),
        ("../m.gguf", "/m.gguf"),
        ("/models/a/../m.gguf", "/models/m.gguf"),
        ("~/m.gguf", "/home/me/m.gguf"),
    ],
)
def test_a_path_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, path: str) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", "/home/me")
    expected = path if path.startswith(("/home/", "/models/")) else f"{tmp_path}{path}"
    ref = ModelRef.parse(text)
    assert (ref.kind, ref.text, ref.path) == (NameKind.PATH, expected, Path(expected))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "-tiny",
        "a b",
        "tiny:",
        "tiny:a:b",
        ":q4",
        "tiny/",
        "a/b/c/d",
        "ümlaut",
        "tiny\n",
        "m" * 81,
        "a:b/c:d:e",
    ],
)
def test_nonsense_is_refused_with_the_grammar(text: str) -> None:
    with pytest.raises(ValidationError, match="is not a valid model name") as caught:
        ModelRef.parse(text)
    assert repr(text) in caught.value.message
    assert "model:tag" in caught.value.resolution_steps[0]


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("hf.co/Qwen/Qwen3-8B-GGUF", "hf.co/Qwen/Qwen3-8B-GGUF:latest"),
        ("hf.co/Qwen/Qwen3-8B-GGUF:Q4_K_M", "hf.co/Qwen/Qwen3-8B-GGUF:Q4_K_M"),
        ("hf.co/a/b:folder/m.gguf", "hf.co/a/b:folder/m.gguf"),
        ("hf.co/a/b:m-00001-of-00002.gguf", "hf.co/a/b:m-00001-of-00002.gguf"),
        ("hf.co/a/" + "r" * 96, "hf.co/a/" + "r" * 96 + ":latest"),
    ],
)
def test_a_name_may_be_a_file_of_a_repository(text: str, canonical: str) -> None:
    assert ModelRef.parse(text) == ModelRef(NameKind.NAME, canonical)
    assert not is_path(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("huggingface.co/a/B", "hf.co/a/B:latest"),
        ("HF.co/a/b:q4_k_m", "hf.co/a/b:Q4_K_M"),
        ("hf.co/a/b:UD-q4_k_xl", "hf.co/a/b:UD-Q4_K_XL"),
        ("hf.co/a/b:fp16", "hf.co/a/b:F16"),
        ("hf.co/a/b:Mine", "hf.co/a/b:Mine"),
        ("hf.co/a/b:m-q4_0.gguf", "hf.co/a/b:m-q4_0.gguf"),
    ],
)
def test_a_model_of_a_repository_has_one_name(text: str, canonical: str) -> None:
    assert ModelRef.parse(text) == ModelRef(NameKind.NAME, canonical)


@pytest.mark.parametrize("text", ["user/tiny:q4_0", "ghcr.io/user/tiny", "tiny", "https://host/m.gguf"])
def test_other_names_are_spelled_in_one_way(text: str) -> None:
    assert spellings(ModelRef.parse(text)) == (ModelRef.parse(text).key,)


def test_a_url_is_as_it_is_written() -> None:
    ref = ModelRef.parse("https://host:8443/Folder/m.gguf?download=1")
    assert (ref.kind, ref.text, ref.key) == (NameKind.URL, ref.text, "https://host:8443/Folder/m.gguf?download=1")
    assert absolute(ref.text) == ref.text


@pytest.mark.parametrize(
    "text",
    [
        "https://",
        "https://host",
        "https://host/",
        "https:///m.gguf",
        "https://user:password@host/m.gguf",
        "https://host:99999/m.gguf",
        "https://host/a b.gguf",
        "https://host/a\0.gguf",
        "https://host/\n.gguf",
        "https://host/ü.gguf",
        "https://[host/m.gguf",
        "https://host/" + "m" * 2000,
    ],
)
def test_a_url_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="is not the URL of a model's file"):
        ModelRef.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "hf.co/a/b:../c.gguf",
        "hf.co/a/b:x/../../c.gguf",
        "hf.co/a/b:/etc/m.gguf",
        "hf.co/a/b:x//m.gguf",
        "hf.co/../b:m.gguf:Q4",
        "hf.co/a/..:Q4",
        "a/../b",
        "a\0b",
        "user/" + "m" * 10_000,
        "m" * 10_000,
    ],
)
def test_path_tricks_are_no_names(text: str) -> None:
    with pytest.raises(ValidationError, match="is not a valid model name") as caught:
        ModelRef.parse(text)
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    "url",
    [
        "https://huggingface.co/org/repo/resolve/main/m.gguf",
        "https://huggingface.co/org/repo/resolve/0123abc/m.gguf?download=true",
        "https://example.com/org/repo",
    ],
)
def test_the_address_of_a_file_stays_one(url: str) -> None:
    assert ModelRef.parse(url).text == url


LIBRARY = RegistryOrigin(host="registry.ollama.ai", namespace="library", model="tiny")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        *((f"{prefix}tiny{tag}", "tiny:latest") for prefix in DEFAULTS for tag in ("", ":latest")),
        ("registry.ollama.ai/user/tiny:q4", "user/tiny:q4"),
        ("https://registry.ollama.ai/library/tiny:q4", "tiny:q4"),
        ("ollama://tiny", "tiny:latest"),
        ("ollama.com/library/tiny:8b", "tiny:8b"),
        ("https://ollama.com/library/tiny/tags", "tiny:latest"),
        ("https://ollama.com/user/tiny:8b/blobs/0a1b2c", "user/tiny:8b"),
        ("oci://ghcr.io/a/b/tiny:v1", "ghcr.io/a/b/tiny:v1"),
        ("docker://ghcr.io/a/tiny", "ghcr.io/a/tiny:latest"),
        ("docker://ai/tiny", "docker.io/ai/tiny:latest"),
        ("docker://localhost/ai/tiny", "localhost/ai/tiny:latest"),
        ("https://hub.docker.com/r/ai/tiny", "docker.io/ai/tiny:latest"),
        ("https://hub.docker.com/r/ai/tiny/tags?name=8b", "docker.io/ai/tiny:latest"),
        ("https://hub.docker.com/repository/docker/ai/tiny/general", "docker.io/ai/tiny:latest"),
        ("hf.co/org/repo/", "hf.co/org/repo:latest"),
        ("huggingface.co/org/repo/tree/main", "hf.co/org/repo:latest"),
        ("huggingface.co/org/repo/blob/main/m.gguf", "hf.co/org/repo:m.gguf"),
        ("huggingface.co/org/repo/resolve/main/m.gguf", "https://huggingface.co/org/repo/resolve/main/m.gguf"),
        ("https://hf.co/org/repo/blob/dev/m.gguf", "https://hf.co/org/repo/resolve/dev/m.gguf"),
        ("https://ollama.com/library/tiny:q4", "tiny:q4"),
        ("https://www.ollama.com/user/tiny", "user/tiny:latest"),
        ("hf://org/repo", "hf.co/org/repo:latest"),
        ("HF://org/repo@main/sub/m.gguf", "hf.co/org/repo:sub/m.gguf"),
        ("hf://org/repo:Q4_K_M", "hf.co/org/repo:Q4_K_M"),
        ("huggingface://org/repo", "hf.co/org/repo:latest"),
        ("https://huggingface.co/org/repo", "hf.co/org/repo:latest"),
        ("https://huggingface.co/org/repo/", "hf.co/org/repo:latest"),
        ("https://hf.co/org/repo/tree/main/sub?not-for-all-audiences=true", "hf.co/org/repo:latest"),
        ("https://huggingface.co/org/repo/blob/main/m%20x.gguf#top", "hf.co/org/repo:m x.gguf"),
        ("box:5000/library/tiny", "box:5000/library/tiny:latest"),
        ("library/library/tiny", "library/library/tiny:latest"),
        ("hf.co/library/tiny", "hf.co/library/tiny:latest"),
        ("hf.co/gpt2", "hf.co/gpt2:latest"),
        ("hf.co/gpt2:q8_0", "hf.co/gpt2:Q8_0"),
        ("librarian/tiny", "librarian/tiny:latest"),
    ],
)
def test_a_model_is_called_without_the_parts_that_a_name_has_by_default(text: str, name: str) -> None:
    ref = ModelRef.parse(text)
    assert (ref.name, ref.key) == (name, name.casefold())
    assert ModelRef.parse(ref.name).key == ref.key


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tiny", [LIBRARY, HubOrigin("tiny")]),
        ("tiny:7b", [replace(LIBRARY, tag="7b"), HubOrigin("tiny", "7B")]),
        ("library/tiny", [LIBRARY]),
        ("Registry.Ollama.ai/Library/tiny", [LIBRARY]),
        ("registry.ollama.ai/tiny", [LIBRARY]),
        ("docker.io/ai/tiny", [RegistryOrigin(host="docker.io", namespace="ai", model="tiny")]),
        ("index.docker.io/ai/tiny:q4", [RegistryOrigin(host="docker.io", namespace="ai", model="tiny", tag="q4")]),
        ("docker.io/tiny", [RegistryOrigin(host="docker.io", namespace="library", model="tiny")]),
        ("ghcr.io/a/b/c/tiny", [RegistryOrigin(host="ghcr.io", namespace="a/b/c", model="tiny")]),
        ("localhost/a/b/tiny", [RegistryOrigin(host="localhost", namespace="a/b", model="tiny")]),
        ("https://registry.ollama.ai/library/tiny", [LIBRARY]),
        ("registry.ollama.ai/user/t", [RegistryOrigin(host="registry.ollama.ai", namespace="user", model="t")]),
        ("hf.co/gpt2", [HubOrigin("gpt2")]),
        ("huggingface.co/gpt2:q8_0", [HubOrigin("gpt2", "Q8_0")]),
        ("hf.co/gpt2:gguf/m.gguf", [HubOrigin("gpt2", file="gguf/m.gguf")]),
        (
            "user/t:q4_0",
            [
                HubOrigin("user/t", "Q4_0"),
                RegistryOrigin(host="registry.ollama.ai", namespace="user", model="t", tag="q4_0"),
            ],
        ),
        ("box:5000/t:q4", [RegistryOrigin(host="box:5000", namespace="library", model="t", tag="q4")]),
        ("box:5000/user/t", [RegistryOrigin(host="box:5000", namespace="user", model="t")]),
        ("ghcr.io/user/t", [RegistryOrigin(host="ghcr.io", namespace="user", model="t")]),
        ("hf.co/a/b", [HubOrigin("a/b")]),
        ("hf.co/a/b:UD-q4_k_xl", [HubOrigin("a/b", "UD-Q4_K_XL")]),
        ("hf.co/a/b:x/M.gguf", [HubOrigin("a/b", file="x/M.gguf")]),
        ("https://host/m.gguf", [UrlOrigin("https://host/m.gguf")]),
        ("./m.gguf", []),
    ],
)
def test_a_name_says_where_it_may_be_had(text: str, expected: list[object]) -> None:
    assert list(origins(ModelRef.parse(text))) == expected


def test_names_ignore_case_and_paths_do_not() -> None:
    assert ModelRef.parse("User/Tiny").key == ModelRef.parse("user/TINY:Latest").key == "user/tiny:latest"
    assert ModelRef.parse("/Tiny.gguf").key != ModelRef.parse("/tiny.gguf").key


def test_only_a_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (absolute("tiny"), absolute("a/b:c"), absolute("./m")) == ("tiny", "a/b:c", str(tmp_path / "m"))
