"""By what factors the estimates of an engine's memory were wrong before. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Corrections:
    """Measured bytes divided by estimated ones, for each part of an engine's memory.

    They come from `loads` earlier loads, in which the corrected total was wrong by at most the share `error`.
    """

    weights: float = 1.0
    kv: float = 1.0
    state: float = 1.0
    compute: float = 1.0
    output: float = 1.0
    process: float = 1.0
    loads: int = 0
    error: float = 0.0


NONE = Corrections()
