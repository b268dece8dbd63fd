"""What holds for a model's answers where a request does not say."""

from dataclasses import replace
from pathlib import Path

import pytest

from oprel.core.models.manifests import Manifest
from oprel.core.models.modelfile import Parameter
from oprel.formats.gguf import GGUFFile, Value, read_gguf
from oprel.formats.templates.plain_frame import CHATML_STOPS, FRAME, FRAME_STOPS
from oprel.server.models.conventions import Conventions, Default
from oprel.server.models.installed_model import InstalledModel
from tests.fixtures.pool import MODIFIED

GEMMA = "<start_of_turn>{{ messages }}<end_of_turn>"


@pytest.fixture
def header(tiny: Path) -> GGUFFile:
    return read_gguf(tiny)


def conventions(
    header: GGUFFile, template: str, modelfile: dict[str, Parameter] | None = None, **metadata: Value
) -> Conventions:
    keys = {name.replace("__", "."): value for name, value in metadata.items()}
    return Conventions(modelfile or {}, replace(header, metadata={**header.metadata, **keys}), template)


def model(header: GGUFFile, file_template: str | None, manifest_template: str = "") -> InstalledModel:
    metadata = {name: value for name, value in header.metadata.items() if name != "tokenizer.chat_template"}
    if file_template is not None:
        metadata["tokenizer.chat_template"] = file_template
    manifest = Manifest(name="m:latest", weights=header.path, template=manifest_template)
    return InstalledModel(name="m", manifest=manifest, header=replace(header, metadata=metadata), modified=MODIFIED)


def test_the_modelfile_counts_before_the_file_and_that_before_the_family(header: GGUFFile) -> None:
    modelfile: dict[str, Parameter] = {"top_k": 5}
    own = conventions(
        header,
        GEMMA,
        modelfile,
        general__architecture="gemma3",
        general__sampling__temp=0.25,
        general__sampling__top_k=7,
        general__sampling__penalty_repeat=1.5,
    )
    assert own.defaults == {
        "stop": Default(["<end_of_turn>"], "family gemma3"),
        "temperature": Default(0.25, "file"),
        "top_p": Default(0.95, "family gemma3"),
        "top_k": Default(5, "Modelfile"),
        "repeat_penalty": Default(1.5, "file"),
    }


@pytest.mark.parametrize("value", [True, "0.5", float("nan"), float("inf"), -5.0, 1e9, (1.0,)])
def test_a_file_s_unusable_parameter_is_left_out(header: GGUFFile, value: Value) -> None:
    assert "temperature" not in conventions(header, FRAME, general__sampling__temp=value).parameters


def test_an_end_that_the_file_does_not_declare_is_a_stop(header: GGUFFile) -> None:
    own = conventions(header, "<|header_start|><|eot|>")
    assert own.ends == ("<|eot|>",) and own.parameters == {"stop": ["<|eot|>"]}
    assert conventions(header, "<|header_start|><|eot|>", {"stop": ["x"]}).ends == ("<|eot|>",)


def test_an_end_that_the_file_declares_is_none(header: GGUFFile) -> None:
    own = conventions(header, "<|im_start|><|im_end|>")
    assert own.ends == () and own.parameters == {"stop": ["<|im_start|>", "<|im_end|>"]}


def test_a_model_without_a_template_is_a_base_model(header: GGUFFile) -> None:
    for base in (model(header, None), model(header, ""), model(header, GEMMA, "{{ .Prompt }}")):
        assert base.is_base and base.chat_template == FRAME and base.capabilities == ["completion"]
        assert (base.conventions.ends, base.conventions.parameters) == (FRAME_STOPS, {})
        assert base.notes[0].startswith("base model")


def test_where_chatml_is_assumed_its_marks_are_stops(header: GGUFFile) -> None:
    """The template cannot be translated, and the file has none."""
    odd = model(header, None, "{{ printf .Prompt }}")
    assert not odd.is_base and odd.chat_template is None
    assert odd.conventions.ends == CHATML_STOPS
