"""`oprel inspect` and `oprel engines`, in this process."""

import json
from pathlib import Path

import pytest

from oprel import inspect
from oprel.cli import main as cli
from oprel.core.models.manifests import Manifest, Manifests
from oprel.runtime.binaries.choices import Choices, read_choices
from tests.fixtures.gguf_factory import write_tiny_gguf
from tests.fixtures.hf_folder import write_folder
from tests.unit.formats.checks.test_validation import ON_STACK, SOUND, archive, pytorch


@pytest.fixture
def oprel(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run a command on a home of its own, with no engine on PATH: its status, and what it printed."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")

    def run(*words: str) -> tuple[int, str, str]:
        status = cli.main([*words, f"--home={home}"])
        return status, *capsys.readouterr()

    return run


def test_a_sound_model_is_described_with_its_engines(oprel, tiny: Path) -> None:
    status, out, _ = oprel("inspect", str(tiny))
    assert status == 0
    for told in ("gguf (confidence 1.00)", "attention heads 4", "No problems found.", "gguf on the CPU"):
        assert told in out
    assert out.index("llama.cpp") < out.index("vllm")


def test_a_name_is_looked_up(oprel, home: Path, tiny: Path) -> None:
    Manifests(home / "models").put(Manifest(name="tiny:latest", weights=tiny))
    assert str(tiny) in oprel("inspect", "tiny")[1]
    assert oprel("inspect", "nothing")[0] == 3


def test_a_folder_that_no_engine_here_serves_says_what_to_get(oprel, tmp_path: Path) -> None:
    status, out, said = oprel("inspect", str(write_folder(tmp_path, SOUND)))
    assert status == 0
    assert "safetensors on the CPU; it is not installed" in out
    assert said.startswith("To serve it, install vllm: oprel engines install vllm")


def test_a_model_with_errors_names_file_fault_and_step(oprel, tmp_path: Path) -> None:
    status, out, _ = oprel("inspect", str(write_folder(tmp_path, pytorch(archive(ON_STACK)))))
    assert status == 4
    lines = out.splitlines()
    at = lines.index("error    pytorch_model.bin: loading it runs 'posix.system'")
    assert lines[at + 1] == "         Do not load it: get the model as safetensors from a source you trust."


def test_what_is_no_model_has_no_engines(oprel, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"")
    status, out, _ = oprel("inspect", str(tmp_path / "m.gguf"))
    assert status == 4 and "error    it is empty" in out and "ENGINE" not in out


def test_json_has_everything(oprel, tmp_path: Path) -> None:
    _, out, _ = oprel("inspect", "--json", str(write_folder(tmp_path, pytorch(archive(ON_STACK)))))
    found = json.loads(out)
    assert found["model"]["format"] == "pytorch" and found["model"]["confidence"] == 0.9
    assert found["findings"][0]["severity"] == "error" and found["findings"][0]["path"].endswith("pytorch_model.bin")
    assert {"name", "score", "reasons", "installed"} == {*found["engines"][0]}


def test_several_models_are_inspected_at_once(oprel, tmp_path: Path) -> None:
    (tmp_path / "old.bin").write_bytes(b"tjgg" + bytes(100))
    sound = str(write_tiny_gguf(tmp_path / "tiny.gguf"))
    status, out, _ = oprel("inspect", "--json", sound, str(tmp_path / "old.bin"))
    good, old = json.loads(out)
    assert status == 4 and good["valid"] and not old["valid"] and old["model"] is None
    assert (good["format"], good["format_version"], good["tokenizer"]) == ("gguf", 3, "gpt2")
    assert good["tensors"] > 10 and good["metadata"]["general.architecture"] == "llama"
    assert [finding["code"] for finding in old["findings"]] == ["old-format"]
    assert "convert" in old["findings"][0]["step"].lower()
    assert [each.path for each in inspect([sound, str(tmp_path / "old.bin")])] == [good["path"], old["path"]]
    assert inspect(sound).valid


def test_engines_are_listed_with_their_programs(oprel) -> None:
    status, out, said = oprel("engines")
    assert status == 0
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert "xllamacpp wheel" in rows["llama.cpp"] or "llama-server" in rows["llama.cpp"]
    assert "(experimental)" in rows["tgi"] and "To install transformers: oprel engines install transformers" in said


def program(folder: Path, *lines: str) -> Path:
    path = folder / "vllm"
    path.write_text("\n".join(["#!/bin/sh", *lines]))
    path.chmod(0o755)
    return path


def test_a_preferred_engine_is_remembered_with_its_program(oprel, home: Path, tmp_path: Path) -> None:
    path = program(tmp_path, "echo 0.32.0")
    assert oprel("engines", "use", "vllm", str(path))[0] == 0
    assert read_choices(home) == Choices("vllm", {"vllm": str(path)})
    row = next(line for line in oprel("engines")[1].splitlines() if line.startswith("vllm (preferred)"))
    assert row.endswith(str(path))
    assert oprel("engines", "test", "vllm")[1] == f"{path} starts: 0.32.0\n"
    oprel("engines", "use", "auto")
    assert read_choices(home) == Choices("", {"vllm": str(path)})


@pytest.mark.parametrize(
    ("words", "status", "error"),
    [
        (("use", "nothing"), 2, "there is no engine 'nothing'"),
        (("use", "vllm", "/nowhere"), 2, "/nowhere is not a file"),
        (("use",), 2, "needs an engine's name"),
        (("install", "vllm", "--cuda"), 2, "are for `oprel engines install llama.cpp`"),
        (("update", "--build"), 2, "are for `oprel engines install llama.cpp`"),
        (("test", "mlx"), 6, "MLX is not installed"),
    ],
)
def test_what_cannot_be_done_is_said(oprel, words: tuple[str, ...], status: int, error: str) -> None:
    done, _, said = oprel("engines", *words)
    assert done == status and error in said


def test_every_engine_that_is_here_is_tried(oprel, tmp_path: Path) -> None:
    path = program(tmp_path, "echo 0.32.0")
    oprel("engines", "use", "vllm", str(path))
    status, out, _ = oprel("engines", "test")
    assert status == 0 and "xllamacpp wheel starts: " in out and out.endswith(f"{path} starts: 0.32.0\n")


def test_an_engine_that_does_not_run_says_why(oprel, tmp_path: Path) -> None:
    oprel("engines", "use", "vllm", str(program(tmp_path, "echo no CUDA >&2; exit 3")))
    done, _, said = oprel("engines", "test", "vllm")
    assert done == 6 and "does not run (status 3): no CUDA" in said


def test_damaged_choices_are_none(home: Path) -> None:
    for content in (b"{", b"[]", b'{"programs": 3}'):
        (home / "engines.json").write_bytes(content)
        assert read_choices(home) == Choices()
