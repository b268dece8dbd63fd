"""What sentence-transformers' files say, damaged and hostile ones included."""

import json
from pathlib import Path

import pytest

from oprel.core.exceptions import InvalidModelError
from oprel.formats.hugging_face.sentence_encoder import SentenceEncoder, read_sentence_encoder
from oprel.formats.templates.prompts import Prompts
from tests.fixtures.hf_folder import write_folder

MODULES = [{"type": "a.Transformer", "path": ""}, {"type": "a.Pooling", "path": "1_Pooling"}]


def encoder(folder: Path, pooling: object = None, **files: object) -> SentenceEncoder:
    if pooling is not None:
        write_folder(folder / "1_Pooling", {"config.json": pooling})
    return read_sentence_encoder(write_folder(folder, {f"{name}.json": content for name, content in files.items()}))


def test_a_folder_without_them_has_the_mean(tmp_path: Path) -> None:
    assert encoder(tmp_path) == SentenceEncoder()


@pytest.mark.parametrize(
    ("config", "pooling", "further"),
    [
        ({"pooling_mode_mean_tokens": True}, "mean", ()),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls", ()),
        ({"pooling_mode_lasttoken": True}, "last", ()),
        ({"pooling_mode": "lasttoken"}, "last", ()),
        ({"pooling_mode": "max"}, "mean", ("the pooling 'max'",)),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "mean", ("2 poolings",)),
        ({}, "mean", ()),
    ],
)
def test_the_pooling(tmp_path: Path, config: object, pooling: str, further: tuple[str, ...]) -> None:
    found = encoder(tmp_path, config, modules=MODULES)
    assert (found.pooling, found.further, found.normalised) == (pooling, further, False)


def test_only_a_model_with_that_step_is_normalised(tmp_path: Path) -> None:
    assert encoder(tmp_path, {}, modules=[*MODULES, {"type": "a.Normalize", "path": "2_Normalize"}]).normalised


@pytest.mark.parametrize("place", ["../secret", "/etc", "1_Pooling/../../secret"])
def test_the_pooling_is_inside_the_folder(tmp_path: Path, place: str) -> None:
    write_folder(tmp_path / "secret", {"config.json": {"pooling_mode": "cls"}})
    folder = tmp_path / "model"
    folder.mkdir()
    assert encoder(folder, modules=[{"type": "a.Pooling", "path": place}]).pooling == "mean"


def test_prompts_are_read_within_limits(tmp_path: Path) -> None:
    texts = {"query": "query: ", "long": "x" * 3000, "none": None}
    found = encoder(tmp_path, config_sentence_transformers={"prompts": texts, "default_prompt_name": "query"})
    assert found.prompts == Prompts({"query": "query: "}, "query")


@pytest.mark.parametrize("content", [{"prompts": [1], "default_prompt_name": 7}, {"prompts": None}])
def test_strange_prompts_are_none(tmp_path: Path, content: object) -> None:
    assert not encoder(tmp_path, config_sentence_transformers=content).prompts


@pytest.mark.parametrize("modules", [{"a": 1}, [7], [{"type": 1}], []])
def test_strange_steps_are_none(tmp_path: Path, modules: object) -> None:
    assert encoder(tmp_path, modules=modules) == SentenceEncoder()


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text(json.dumps(MODULES)[:-5])
    with pytest.raises(InvalidModelError, match=r"modules\.json"):
        read_sentence_encoder(tmp_path)
