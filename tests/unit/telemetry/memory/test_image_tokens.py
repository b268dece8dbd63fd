"""How many tokens an image takes, by the kinds of projectors that there are."""

from pathlib import Path

import pytest

from oprel.formats.gguf import GGUFFile, Value
from oprel.telemetry.memory.image_tokens import ImageTokens, image_tokens


def projector(kind: str, **keys: Value) -> GGUFFile:
    metadata = {f"clip.vision.{name}": value for name, value in keys.items()}
    return GGUFFile(
        path=Path("mmproj.gguf"),
        version=3,
        byte_order="little",
        metadata={"general.architecture": "clip", "clip.projector_type": kind, **metadata},
        tensors=(),
        data_offset=0,
        size_bytes=0,
    )


@pytest.mark.parametrize(
    ("kind", "keys", "tokens"),
    [
        ("mlp", {"image_size": 336, "patch_size": 14}, 576),  # LLaVA 1.5
        ("ldpv2", {"image_size": 336, "patch_size": 14}, 144),  # MobileVLM
        ("gemma3", {"image_size": 896, "patch_size": 14}, 256),
        ("idefics3", {"image_size": 384, "patch_size": 14, "projector.scale_factor": 3}, 81),
        ("internvl", {"image_size": 448, "patch_size": 14, "projector.scale_factor": 2}, 256),
        ("mlp", {"image_size": 336}, 1),
        ("another", {"image_size": 336, "patch_size": 14}, 1),
    ],
)
def test_every_image_takes_the_same(kind: str, keys: dict[str, Value], tokens: int) -> None:
    found = image_tokens(projector(kind, **keys))
    assert {found.at_least(size) for size in (None, (1, 1), (4000, 3000))} == {tokens}


@pytest.mark.parametrize(
    ("size", "tokens"), [(None, 8), ((1, 1), 8), ((280, 280), 100), ((285, 280), 100), ((9000, 9000), 3276)]
)
def test_a_larger_image_takes_more(size: tuple[int, int] | None, tokens: int) -> None:
    assert image_tokens(projector("qwen2.5vl_merger", patch_size=14)).at_least(size) == tokens


def test_limits_of_the_file_itself_count() -> None:
    found = image_tokens(projector("pixtral", patch_size=14, spatial_merge_size=2, image_max_pixels=28**2 * 50))
    assert found == ImageTokens(8, 50, 28)
