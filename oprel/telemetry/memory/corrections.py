"""By what factors the estimates of an engine's memory were wrong before. Pure."""

from dataclasses import dataclass

from oprel.telemetry.memory.load_shape import LoadShape


@dataclass(frozen=True, kw_only=True)
class Corrections:
    """Measured bytes divided by estimated ones, for each part of an engine's memory.

    They come from `loads` earlier loads, in which the corrected total was wrong by at most the share `error`: loads of
    the model, or unless `is_of_model` of others of its architecture. `peaks`: the most resident bytes of the model's
    earlier loads, without saved conversations, by the text of their shape.
    """

    weights: float = 1.0
    kv: float = 1.0
    state: float = 1.0
    compute: float = 1.0
    output: float = 1.0
    process: float = 1.0
    loads: int = 0
    error: float = 0.0
    is_of_model: bool = True
    peaks: tuple[tuple[str, int], ...] = ()

    def peak_of(self, shape: LoadShape) -> int:
        """The most that the model took with this shape before, without saved conversations; 0 if unknown."""
        return dict(self.peaks).get(repr(shape), 0) if self.peaks else 0


NONE = Corrections()
