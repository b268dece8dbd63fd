"""How many tokens an image takes, from the header of a vision projector. Pure.

Sources: `clip_n_output_tokens` and the limits of each projector in tools/mtmd/clip.cpp of llama.cpp (b11549). A model
that looks at an image in pieces, after the whole, takes more than is said here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from oprel.formats.gguf import GGUFFile
from oprel.telemetry.memory.dims import Keys

# Projectors that scale every image to one square -> how many patches become one token, on each side.
FIXED: Mapping[str, int] = {
    **dict.fromkeys(("mlp", "mlp_norm"), 1),
    **dict.fromkeys(("ldp", "ldpv2", "internvl", "llama4"), 2),
    **dict.fromkeys(("gemma3", "idefics3"), 4),
}
# Projectors that keep an image's proportions -> the same, and the fewest and most tokens of an image.
DYNAMIC: Mapping[str, tuple[int, int, int]] = {
    **dict.fromkeys(("qwen2vl_merger", "qwen2.5vl_merger", "qwen3vl_merger"), (2, 8, 4096)),
    "pixtral": (1, 8, 1024),
    "gemma4v": (3, 40, 280),
}
SLACK = 0.8  # of the most tokens: what rounding to whole patches leaves at least


@dataclass(frozen=True)
class ImageTokens:
    """An image takes one token for each square of `square` pixels, but from `fewest` to `most`.

    Without a `square` every image takes `fewest`. `side` is that of the square image that a model sees, 0 if it varies.
    """

    fewest: int = 1
    most: int = 1
    square: int = 0
    side: int = 0

    def at_least(self, size: tuple[int, int] | None) -> int:
        """The tokens that an image of that width and height takes at least."""
        if not self.square or size is None:
            return self.fewest
        width, height = (max(1, pixels // self.square) for pixels in size)
        return max(self.fewest, min(width * height, int(self.most * SLACK)))


def image_tokens(projector: GGUFFile) -> ImageTokens:
    """A projector of an unknown kind takes at least one token."""
    keys = Keys(projector)
    kind = _kind(projector)
    side, patch = keys.integer("vision.image_size"), keys.integer("vision.patch_size")
    if kind in FIXED and side and patch:
        merged = keys.integer("vision.projector.scale_factor") or FIXED[kind]
        count = max(1, side // patch // merged) ** 2
        return ImageTokens(count, count, side=side)
    if kind in DYNAMIC and patch:
        merged, fewest, most = DYNAMIC[kind]
        square = patch * (keys.integer("vision.spatial_merge_size") or merged)
        pixels = keys.integer("vision.image_max_pixels")
        return ImageTokens(fewest, pixels // square**2 or most, square)
    return ImageTokens()


def _kind(projector: GGUFFile) -> str:
    for key in ("clip.vision.projector_type", "clip.projector_type"):
        value = projector.metadata.get(key)
        if isinstance(value, str):
            return value
    return ""
