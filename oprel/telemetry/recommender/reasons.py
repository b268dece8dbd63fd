"""Why a plan is as it is, in words for users. Pure."""

from dataclasses import replace

from oprel.core.variants import bits_per_weight
from oprel.telemetry.recommender.budgets import Budgets
from oprel.telemetry.recommender.candidates import BY_QUALITY, LARGE_BITS, NATIVE, Grade, Row, grade_of
from oprel.telemetry.recommender.placement import PlacementKind, Solution, solutions
from oprel.telemetry.recommender.settings import WHOLE_SLOTS, PlanConstraints, Preference
from oprel.utils.text import human_size


def why_not(row: Row, chosen: Row, budgets: Budgets) -> str:
    """Why `row` was not chosen; empty if the chosen one does not fit either and there is nothing to add."""
    if contradiction := row.contradiction:
        return contradiction
    if not row.fits:
        return f"needs {human_size(row.solution.total)}, and {_available(budgets)}"
    if not chosen.fits:
        return ""
    mine, best = row.candidate, chosen.candidate
    if mine.bits < best.bits:
        return f"loses more quality than {best.label}, which also fits"
    if row.solution.placement.kind > chosen.solution.placement.kind:
        return f"only {placement_text(row)}" if row.solution.placement.devices else "on the CPU only"
    if mine.bits > LARGE_BITS:
        return "twice the size for no gain in quality"
    return "the extra bits are not worth the memory"


def reasons_of(row: Row, constraints: PlanConstraints) -> tuple[str, ...]:
    """Why the engine gets so many threads and slots: a short sentence for each where there is something to say."""
    return tuple(filter(None, (row.threads.why, _why_slots(row, constraints))))


def _why_slots(row: Row, constraints: PlanConstraints) -> str:
    setting, kind = row.solution.setting, row.solution.placement.kind
    slots = "one request at a time" if setting.slots == 1 else f"{setting.slots} requests at a time"
    if setting.embedding or constraints.cells:
        return ""
    if constraints.slots:
        return f"{slots}, {'for a long context' if constraints.prefer is Preference.CONTEXT else 'as requested'}"
    if setting.slots > WHOLE_SLOTS:
        return f"{slots}, as they share the {setting.cells} tokens of the cache"
    if setting.slots == WHOLE_SLOTS and row.candidate.projector:
        return f"{slots}, each with a cache of its own for images"
    if kind in (PlacementKind.MOSTLY_GPU, PlacementKind.PARTLY_GPU):
        return f"{slots}, as the cache of more would displace layers from the GPU"
    return f"{slots}, as the memory does not suffice for more"


def placement_text(row: Row) -> str:
    """Where the model is placed, such as "GPU", "20 of 33 layers on the GPU", "CPU"."""
    placement, blocks = row.solution.placement, row.candidate.placement_input.blocks
    gpus = f"{len(placement.devices)} GPUs" if len(placement.devices) > 1 else "the GPU"
    match placement.kind:
        case PlacementKind.GPU:
            return gpus.removeprefix("the ")
        case PlacementKind.EXPERTS_ON_CPU:
            return f"{gpus.removeprefix('the ')}, experts of {placement.cpu_experts} of {blocks} layers on the CPU"
        case PlacementKind.CPU:
            return "CPU"
        case _:
            return f"{placement.gpu_layers} of {blocks + 1} layers on {gpus}"


def refusal_of(chosen: Row, budgets: Budgets, constraints: PlanConstraints) -> tuple[str, tuple[str, ...]]:
    """Why the smallest plan does not fit, and what would."""
    solution = chosen.solution
    if contradiction := chosen.contradiction:
        return contradiction, ("Leave the KV cache type to oprel, or choose another one.",)
    if lacks_gpu_memory(chosen, budgets):
        return _gpu_refusal(chosen, budgets), (_fewer_layers(chosen, budgets, constraints),)
    is_fixed = constraints.context or constraints.cells
    context = f" with the requested context of {solution.setting.context} tokens" if is_fixed else ""
    needs, limits = _both(solution), "; ".join(budgets.limits)
    why = f"it needs {needs}{context}, and {_available(budgets)}" + (f": {limits}" if limits else "")
    return why, (_relaxed(chosen, budgets, constraints) or _smaller(chosen, budgets),)


def lacks_gpu_memory(chosen: Row, budgets: Budgets) -> bool:
    """Whether the memory of GPUs alone does not suffice: more of the machine's would not help."""
    solution = chosen.solution
    is_apart = bool(solution.needs) and not budgets.shared and solution.host_needs <= budgets.for_one
    return is_apart and not solution.fits_devices(budgets)


def _gpu_refusal(chosen: Row, budgets: Budgets) -> str:
    solution, layers = chosen.solution, chosen.candidate.placement_input.blocks + 1
    on_gpu = min(solution.placement.gpu_layers, layers)
    needs, free = human_size(sum(solution.needs)), human_size(sum(budgets.devices))
    return f"{on_gpu} of its {layers} layers need {needs} of the GPU's memory, and {free} may be taken"


def _fewer_layers(chosen: Row, budgets: Budgets, constraints: PlanConstraints) -> str:
    """How many layers would fit if no number were fixed."""
    model = chosen.candidate.placement_input
    other = next(solutions(model, budgets, replace(constraints, layers_on_gpu=None)), None)
    if other is None:
        return _relaxed(chosen, budgets, constraints) or "Use a shorter context (num_ctx) or a smaller model."
    layers = min(other.placement.gpu_layers, model.blocks + 1)
    return f"Leave the number of layers (num_gpu) to oprel: {layers} of them fit on the GPU."


def _both(solution: Solution) -> str:
    """What is reserved, and what is taken with every slot busy."""
    reserved, expected = human_size(solution.total), human_size(solution.expected)
    return reserved if reserved == expected else f"{reserved} reserved ({expected} when busy)"


def _available(budgets: Budgets) -> str:
    host = human_size(budgets.for_one)
    if budgets.shared:
        return f"{host} of what CPU and GPU share may be taken"
    gpus = f"{human_size(sum(budgets.devices))} of the GPUs' memory and " if budgets.devices else ""
    return f"{gpus}{host} of the machine's may be taken"


def _relaxed(chosen: Row, budgets: Budgets, constraints: PlanConstraints) -> str | None:
    """What fits if the user fixes less; None if nothing does."""
    relaxed = replace(
        constraints, context=None, cells=None, slots=None, key_type=None, value_type=None, layers_on_gpu=None
    )
    if constraints == relaxed:
        return None
    other = next(solutions(chosen.candidate.placement_input, budgets, relaxed), None)
    if other is None:
        return None
    return f"It fits with a context of {other.setting.context} and {other.setting.slots} request(s) at a time."


def _smaller(chosen: Row, budgets: Budgets) -> str:
    """A quantization with so few bits that the weights fit, if its quality suffices."""
    candidate = chosen.candidate
    memory = budgets.for_one if budgets.shared else budgets.for_one + sum(budgets.devices)
    left = memory - (chosen.solution.total - candidate.size_bytes)
    bits = candidate.bits * left / max(candidate.size_bytes, 1)
    for label in BY_QUALITY if candidate.label not in NATIVE else ():
        smaller = replace(candidate, label=label)
        if (bits_per_weight(label) or 0) <= bits and grade_of(smaller) is not Grade.POOR:
            return f"Its {label} would fit."
    return "Use a smaller model."
