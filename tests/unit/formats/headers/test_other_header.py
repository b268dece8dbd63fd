"""Headers of folders in Hugging Face's layout."""

from pathlib import Path

import pytest

from oprel.formats.headers.other_header import read_other
from tests.fixtures.hf_folder import LLAMA, safetensors, write_folder

WEIGHTS = safetensors({"model.embed_tokens.weight": ("BF16", (100, 64))})


@pytest.mark.parametrize(
    ("config", "sampling"),
    [
        (
            {"temperature": 0.6, "top_k": 20, "repetition_penalty": 1.1, "eos_token_id": 2},
            {"temp", "top_k", "penalty_repeat"},
        ),
        ({"do_sample": False, "temperature": 0.6}, set()),
        ({"temperature": "warm", "top_p": None}, set()),
        (b"{damaged", set()),
        ([1], set()),
    ],
)
def test_a_folder_has_the_sampling_parameters_of_its_generation_config(
    tmp_path: Path, config: object, sampling: set[str]
) -> None:
    folder = {"config.json": LLAMA, "model.safetensors": WEIGHTS, "generation_config.json": config}
    metadata = read_other(write_folder(tmp_path / "m", folder)).metadata
    assert {name for name in metadata if name.startswith("general.sampling")} == {
        f"general.sampling.{name}" for name in sampling
    }
