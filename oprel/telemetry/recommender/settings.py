"""What a user fixes about running a model, and the settings the planner may choose for the rest, best first. Pure.

The best setting has as much context as is sensible, several parallel requests and a cache in 16 bits. The planner
gives up first what costs answers least: context beyond the usual, parallel requests, precision of the cache, then half
of the usual context. Slots that share their cells take little memory, so there are more of them than contexts: a
request uses what others leave free. A requested context is needed once: further slots with it must not take much.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from functools import partial

from oprel.telemetry.memory.load_shape import LoadShape

AMPLE_CONTEXTS = (131_072, 65_536, 32_768, 16_384)
USUAL_CONTEXT, SHORT_CONTEXT, SHORTEST_CONTEXT = 8192, 4096, 2048
SLOTS = (8, 4, 2, 1)
WHOLE_SLOTS = 4  # so many are planned with a whole context each; more of them share its cells
AMPLE_SHARE = 0.75  # of the budgets, for settings beyond the usual: another model should still fit
REPEATED_SHARE = 0.25  # of the budgets, for several slots with a context that was asked for
UBATCH, SMALL_UBATCH = 512, 128
BATCH = 2048


class Preference(StrEnum):
    """What a plan prefers where it has a choice."""

    BALANCED = "balanced"
    QUALITY = "quality"
    SPEED = "speed"
    CONTEXT = "context"


@dataclass(frozen=True, kw_only=True)
class PlanConstraints:
    """What the planner must keep; None leaves the choice to it.

    `context`: tokens of each request. `cells`: tokens of the KV cache of all slots together (llama-server's `-c`), an
    alternative to `context`. `unified`: slots share the cache instead of dividing it. `layers_on_gpu` counts as `-ngl`
    does. `mmap`: whether the file of the weights is mapped. `embedding`: the engine computes embeddings, for which a
    whole text must fit into one batch. `ample`: the plan may have more context than usual if memory is plentiful.
    `prefer`: None means balanced.
    """

    context: int | None = None
    cells: int | None = None
    slots: int | None = None
    unified: bool = True
    key_type: str | None = None
    value_type: str | None = None
    flash_attention: bool | None = None
    threads: int | None = None
    batch: int | None = None
    ubatch: int | None = None
    swa_full: bool = False
    layers_on_gpu: int | None = None
    mmap: bool | None = None
    embedding: bool = False
    ample: bool = True
    prefer: Preference | None = None

    def completed(self, configured: "PlanConstraints") -> "PlanConstraints":
        """These constraints, with the values of `configured` where they have None."""
        names = ["slots", "key_type", "value_type", "flash_attention", "threads", "batch", "layers_on_gpu", "prefer"]
        names += [] if self.cells else ["context"]
        return replace(self, **{name: getattr(configured, name) for name in names if getattr(self, name) is None})


class FitLevel(IntEnum):
    """How comfortable a setting is: more than the usual, the usual, less, or barely enough for a chat."""

    AMPLE = 0
    USUAL = 1
    TIGHT = 2
    SCANT = 3


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One way to run a model. `context` is the tokens that one request may use.

    The KV cache has `cells` tokens, which all `slots` share if `unified` and divide evenly otherwise. There may be
    fewer of them than `slots` contexts, if one request may use what the others leave. `share`: how much
    of the budgets the setting may take.
    """

    fit_level: FitLevel = field(compare=False)
    share: float = field(default=1.0, compare=False)
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
    mmap: bool | None = None
    projector_on_cpu: bool = False

    def load_shape(
        self, gpu_layers: int | None = None, split: tuple[float, ...] = (), cpu_experts: int = 0
    ) -> LoadShape:
        """This setting with a placement, as input of the memory estimate."""
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
            mmap=self.mmap,
            gpu_layers=gpu_layers,
            split=split,
            cpu_experts=cpu_experts,
        )


def settings_of(constraints: PlanConstraints, trained: int | None, *, sees: bool = False) -> tuple[Setting, ...]:
    """Every setting within `constraints`, best first.

    `trained` is the context length in tokens that the model was trained with; it caps the context, if known. `sees`:
    the model has a projector, which the last setting moves to the CPU. Its slots have a whole context each, as the
    length of a prompt with images is not known before.
    """
    is_fixed = constraints.slots is not None and constraints.context is not None
    shares = constraints.unified and not (sees or constraints.embedding or is_fixed)
    settings = tuple(dict.fromkeys(_settings(constraints, trained or USUAL_CONTEXT, shares=shares)))
    if not sees:
        return settings
    return (*settings, *(replace(setting, projector_on_cpu=True) for setting in settings[-1:]))


def _settings(constraints: PlanConstraints, trained: int, *, shares: bool) -> Iterator[Setting]:
    slots, setting = _slots(constraints, shares=shares), partial(_setting, constraints, shares=shares)
    fixed = constraints.context or (_of_each(constraints, slots[0]) if constraints.cells else None)
    if constraints.ample and not (fixed or constraints.embedding):
        several = [number for number in slots if number >= WHOLE_SLOTS] or slots[:1]
        for context, number in itertools.product((each for each in AMPLE_CONTEXTS if each <= trained), several):
            yield replace(setting(FitLevel.AMPLE, context, number), share=AMPLE_SHARE)
    usual = fixed or min(trained, SHORT_CONTEXT if constraints.embedding else USUAL_CONTEXT)
    for number in slots:
        repeated = setting(FitLevel.USUAL, usual, number)
        yield replace(repeated, share=REPEATED_SHARE) if fixed and number > slots[-1] else repeated
    yield setting(FitLevel.TIGHT, usual, slots[-1], "q8_0")
    short, shortest = (fixed or min(usual, context) for context in (SHORT_CONTEXT, SHORTEST_CONTEXT))
    for cache_type in ("f16", "q8_0"):
        yield setting(FitLevel.TIGHT, short, slots[-1], cache_type)
    yield setting(FitLevel.SCANT, short, slots[-1], "q8_0", SMALL_UBATCH)
    for ubatch in (UBATCH, SMALL_UBATCH):
        yield setting(FitLevel.SCANT, shortest, slots[-1], "q8_0", ubatch)


def _slots(constraints: PlanConstraints, *, shares: bool) -> tuple[int, ...]:
    """The numbers of slots to try, best first."""
    if constraints.slots:
        return (constraints.slots,)
    if constraints.cells:
        return (1,)
    return SLOTS if shares else tuple(number for number in SLOTS if number <= WHOLE_SLOTS)


def _cells(context: int, slots: int, *, shares: bool) -> int:
    """Cells for all slots: a context for each; if they share, for `WHOLE_SLOTS` at most, but a short one for each."""
    if not shares:
        return context * slots
    return max(context * min(slots, WHOLE_SLOTS), min(context, SHORT_CONTEXT) * slots)


def _of_each(constraints: PlanConstraints, slots: int) -> int:
    """Tokens that each request may use of a cache of a given size."""
    cells = constraints.cells or 0
    return cells if constraints.unified else cells // slots


def _setting(
    constraints: PlanConstraints,
    fit_level: FitLevel,
    context: int,
    slots: int,
    cache_type: str = "f16",
    ubatch: int = UBATCH,
    *,
    shares: bool,
) -> Setting:
    """The given values, overridden by the constraints. `shares`: a slot may use what the others leave."""
    if constraints.flash_attention is False:  # a quantized cache needs flash attention
        cache_type = "f16"
    whole = context if constraints.embedding else None  # engines embed no input that is longer than their batch
    return Setting(
        fit_level=fit_level,
        context=context,
        cells=constraints.cells or _cells(context, slots, shares=shares),
        slots=slots,
        key_type=constraints.key_type or cache_type,
        value_type=constraints.value_type or constraints.key_type or cache_type,
        batch=whole or constraints.batch or BATCH,
        ubatch=whole or constraints.ubatch or min(ubatch, constraints.batch or ubatch),
        unified=constraints.unified,
        flash_attention=constraints.flash_attention is not False,
        swa_full=constraints.swa_full,
        embedding=constraints.embedding,
        mmap=constraints.mmap,
    )
