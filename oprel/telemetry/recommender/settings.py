"""What a user fixes of how a model runs, and what may be chosen for the rest, best first. Pure.

As much context as is sensible, then several requests at a time, in 16 bits; what costs answers least is given up
first: context beyond the usual, requests at the same time, the last bits of the cache, half of the usual context.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum

from oprel.telemetry.memory.load_shape import LoadShape

AMPLE_CONTEXTS = (131_072, 65_536, 32_768, 16_384)
USUAL_CONTEXT, SHORT_CONTEXT, SHORTEST_CONTEXT = 8192, 4096, 2048
SLOTS = (4, 2, 1)
UBATCH, SMALL_UBATCH = 512, 128
BATCH = 2048


@dataclass(frozen=True)
class PlanConstraints:
    """What is fixed; None is to be chosen.

    `context`: tokens of each request; `cells`: those of the cache that all slots have together (llama-server's `-c`),
    in place of it. `layers_on_gpu` counts as `-ngl` does. `embedding`: the engine makes vectors, for which it needs a
    whole text in one batch. `ample`: where memory is plenty, more context than usual may be taken.
    """

    context: int | None = None
    cells: int | None = None
    slots: int | None = None
    unified: bool = True
    key_type: str | None = None
    value_type: str | None = None
    flash_attention: bool | None = None
    batch: int | None = None
    ubatch: int | None = None
    swa_full: bool = False
    layers_on_gpu: int | None = None
    embedding: bool = False
    ample: bool = True

    def completed(self, configured: "PlanConstraints") -> "PlanConstraints":
        """With what is `configured` where nothing is asked."""
        names = ["slots", "key_type", "value_type", "flash_attention", "batch", "layers_on_gpu"]
        names += [] if self.cells else ["context"]
        return replace(self, **{name: getattr(configured, name) for name in names if getattr(self, name) is None})


class FitLevel(IntEnum):
    """How good a setting is to have: more than usual, as usual, less, or hardly enough to talk."""

    AMPLE = 0
    USUAL = 1
    TIGHT = 2
    SCANT = 3


@dataclass(frozen=True)
class Setting:
    """`context` is what one request may use, in tokens; the cache has `cells`, which all `slots` share if `unified`."""

    comfort: FitLevel = field(compare=False)
    context: int
    cells: int
    slots: int
    key_type: str
    value_type: str
    batch: int
    ubatch: int
    unified: bool = True
    flash_attention: bool = True
    swa_full: bool = False
    embedding: bool = False
    projector_on_cpu: bool = False

    def wishes(self, gpu_layers: int | None = None, split: tuple[float, ...] = (), cpu_experts: int = 0) -> LoadShape:
        return LoadShape(
            context=self.cells,
            slots=self.slots,
            unified=self.unified,
            key_type=self.key_type,
            value_type=self.value_type,
            batch=self.batch,
            ubatch=self.ubatch,
            flash_attention=self.flash_attention,
            swa_full=self.swa_full,
            embedding=self.embedding,
            gpu_layers=gpu_layers,
            split=split,
            cpu_experts=cpu_experts,
        )


def settings_of(asked: PlanConstraints, trained: int | None, *, sees: bool = False) -> tuple[Setting, ...]:
    """Every setting that keeps what is asked, best first. `trained` caps the context, where it is known.

    `sees`: the model has a projector, which may stay on the CPU.
    """
    found = dict.fromkeys(_settings(asked, trained or USUAL_CONTEXT))
    last = list(found)[-1:]
    return (*found, *(replace(one, projector_on_cpu=True) for one in last if sees))


def _settings(asked: PlanConstraints, trained: int) -> Iterator[Setting]:
    slots = (asked.slots,) if asked.slots else (1,) if asked.cells else SLOTS
    fixed = asked.context or (_of_each(asked, slots[0]) if asked.cells else None)
    if asked.ample and not (fixed or asked.embedding):
        for context in AMPLE_CONTEXTS:
            if context <= trained:
                yield _setting(asked, FitLevel.AMPLE, context, slots[0])
    usual = fixed or min(trained, SHORT_CONTEXT if asked.embedding else USUAL_CONTEXT)
    for number in slots:
        yield _setting(asked, FitLevel.USUAL, usual, number)
    yield _setting(asked, FitLevel.TIGHT, usual, slots[-1], "q8_0")
    short, shortest = (fixed or min(usual, context) for context in (SHORT_CONTEXT, SHORTEST_CONTEXT))
    for cache_type in ("f16", "q8_0"):
        yield _setting(asked, FitLevel.TIGHT, short, slots[-1], cache_type)
    yield _setting(asked, FitLevel.SCANT, short, slots[-1], "q8_0", SMALL_UBATCH)
    for ubatch in (UBATCH, SMALL_UBATCH):
        yield _setting(asked, FitLevel.SCANT, shortest, slots[-1], "q8_0", ubatch)


def _of_each(asked: PlanConstraints, slots: int) -> int:
    cells = asked.cells or 0
    return cells if asked.unified else cells // slots


def _setting(
    asked: PlanConstraints, comfort: FitLevel, context: int, slots: int, cache_type: str = "f16", ubatch: int = UBATCH
) -> Setting:
    """As asked where something is. A quantized cache needs flash attention: without it, it stays as it is."""
    if asked.flash_attention is False:
        cache_type = "f16"
    whole = context if asked.embedding else None
    return Setting(
        comfort=comfort,
        context=context,
        cells=asked.cells or context * slots,
        slots=slots,
        key_type=asked.key_type or cache_type,
        value_type=asked.value_type or asked.key_type or cache_type,
        batch=asked.batch or whole or BATCH,
        ubatch=asked.ubatch or whole or min(ubatch, asked.batch or ubatch),
        unified=asked.unified,
        flash_attention=asked.flash_attention is not False,
        swa_full=asked.swa_full,
        embedding=asked.embedding,
    )
