"""What a text names: a model, a file, or nothing."""

from pathlib import Path

import pytest

from oprel.core.exceptions import ValidationError
from oprel.core.names import Kind, ModelRef, absolute


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
    assert ModelRef.parse(text) == ModelRef(Kind.NAME, canonical)


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
    assert (ref.kind, ref.text, ref.path) == (Kind.PATH, expected, Path(expected))


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


def test_names_ignore_case_and_paths_do_not() -> None:
    assert ModelRef.parse("User/Tiny").key == ModelRef.parse("user/TINY:Latest").key == "user/tiny:latest"
    assert ModelRef.parse("/Tiny.gguf").key != ModelRef.parse("/tiny.gguf").key


def test_only_a_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (absolute("tiny"), absolute("a/b:c"), absolute("./m")) == ("tiny", "a/b:c", str(tmp_path / "m"))
