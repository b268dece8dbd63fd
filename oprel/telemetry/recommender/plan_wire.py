"""A plan as its wire type, which is also the JSON of `oprel plan --json`. Pure."""

from collections.abc import Iterator, Sequence

from oprel.telemetry.memory.estimator import Share
from oprel.telemetry.recommender.candidates import Candidate, Grade, Row, grade_of
from oprel.telemetry.recommender.placement import Solution
from oprel.telemetry.recommender.planning import Plan
from oprel.telemetry.recommender.reasons import placement_text, reasons_of
from oprel.telemetry.recommender.speed.prediction import PLEASANT, is_guess, tokens_per_second
from oprel.telemetry.recommender.suggestions import Suggestion, suggestions
from oprel.wire.daemon import (
    OverheadSizes,
    PlacedMemory,
    PlanExperience,
    PlannedMemory,
    PlannedVariant,
    PlanResponse,
    PlanSuggestion,
)

HOST = "CPU"
FASTER = 1.1  # times as fast: what is worth a try where answers are slow
GUESSED = (
    "the speed is a guess: the memory of this machine was not measured. The daemon does so when it is idle, and "
    "`oprel bench memory` at once"
)
SUMS = (
    *("total_bytes", "expected_bytes", "weights_bytes", "kv_bytes", "state_bytes", "compute_bytes", "output_bytes"),
    "overhead_bytes",
)


def plan_response(model: str, plan: Plan, command: Sequence[str], notes: Sequence[str] = ()) -> PlanResponse:
    """The response for `plan`. `command` starts the engine; `notes` are further remarks about the machine."""
    solution, setting, saving = plan.solution, plan.solution.setting, suggestions(plan)
    return PlanResponse(
        model=model,
        fits=plan.fits,
        contradictory=plan.is_contradictory,
        refusal=plan.refusal,
        advice=list(plan.advice),
        quantization=plan.chosen.candidate.label,
        where=placement_text(plan.chosen),
        context=setting.context,
        cells=solution.estimate.context,
        slots=setting.slots,
        threads=plan.chosen.threads.single,
        batch_threads=plan.chosen.threads.batch,
        reasons=list(reasons_of(plan.chosen, plan.constraints)) if plan.fits else [],
        kv_cache_type=_types(setting.key_type, setting.value_type),
        gpu_layers=solution.placement.gpu_layers,
        cpu_expert_layers=solution.placement.cpu_experts,
        tokens_per_second=_rounded(plan.chosen.speed),
        full_tokens_per_second=_rounded(_speed_when_full(plan)),
        speed_guessed=plan.chosen.speed is not None and is_guess(solution, plan.budgets),
        rough=solution.estimate.rough,
        experience=_experience(plan.chosen.candidate),
        memory=_memory(plan),
        variants=[_variant(row, plan) for row in plan.rows],
        rejected={row.candidate.label: row.why for row in plan.rows if row is not plan.chosen and row.why},
        suggestions=[_suggestion(each) for each in saving],
        notes=[*_notes(plan, saving), *notes],
        command=list(command) if plan.fits else [],
    )


def _notes(plan: Plan, saving: Sequence[Suggestion]) -> Iterator[str]:
    chosen = plan.chosen
    if len(plan.rows) > 1 and plan.fits and grade_of(chosen.candidate) is Grade.POOR:
        label = chosen.candidate.label
        yield f"{label} costs a model of this size much of its quality: a smaller model in Q4_K_M may answer better"
    if chosen.solution.estimate.rough:
        yield "the memory needs of this architecture are not fully known: the figures are a rough estimate"
    if plan.fits and chosen.speed is not None and chosen.speed < PLEASANT:
        yield f"{chosen.speed:.1f} tokens/s is too slow to be pleasant: {_faster(saving)}"
    if chosen.speed is not None and is_guess(chosen.solution, plan.budgets):
        yield GUESSED
    elif chosen.speed is None and chosen.solution.placement.devices and not plan.constraints.embedding:
        yield "the speed is unknown: the bandwidth of the GPU's memory could not be read"


def _faster(saving: Sequence[Suggestion]) -> str:
    """What would be faster than a slow plan."""
    faster = [f"{each.change} would give {each.speed:.1f}" for each in saving if each.speed and each.speedup > FASTER]
    return ", ".join([*faster, "a smaller model would be faster"])


def _speed_when_full(plan: Plan) -> float | None:
    chosen = plan.chosen
    full = chosen.solution.setting.context
    threads = chosen.threads.single
    return chosen.speed and tokens_per_second(chosen.candidate, chosen.solution, plan.budgets, full, threads=threads)


def _suggestion(suggestion: Suggestion) -> PlanSuggestion:
    return PlanSuggestion(
        change=suggestion.change,
        saved_bytes=suggestion.saved_bytes,
        speedup=round(suggestion.speedup, 2),
        text=suggestion.text,
    )


def _types(key: str, value: str) -> str:
    return key if key == value else f"{key},{value}"


def _experience(candidate: Candidate) -> PlanExperience | None:
    by = candidate.corrections
    return PlanExperience(loads=by.loads, error=by.error, is_of_model=by.is_of_model) if by.loads else None


def _memory(plan: Plan) -> PlannedMemory:
    solution, budgets = plan.solution, plan.budgets
    devices = [
        _placed(budgets.gpus[device].name, budgets.devices[device], share, needs, needs)
        for device, needs, share in zip(
            solution.placement.devices, solution.needs, solution.estimate.devices, strict=True
        )
    ]
    host = _placed(HOST, budgets.for_one, solution.estimate.host, solution.host_needs, solution.host_expected)
    host.overhead = _host_overhead(solution)
    devices.append(host)
    return PlannedMemory(
        **{name: sum(getattr(device, name) for device in devices) for name in SUMS},
        overhead=OverheadSizes(
            **{name: sum(getattr(device.overhead, name) for device in devices) for name in OverheadSizes.model_fields}
        ),
        devices=devices,
    )


def _placed(name: str, budget: int, share: Share, reserved: int, expected: int) -> PlacedMemory:
    """The memory of a GPU: beside the buffers it has a projector."""
    buffers = share.total - share.repacked
    return PlacedMemory(
        name=name,
        budget_bytes=budget,
        total_bytes=reserved,
        expected_bytes=expected,
        weights_bytes=share.weights,
        kv_bytes=share.kv,
        state_bytes=share.state,
        compute_bytes=share.compute,
        output_bytes=share.output,
        overhead_bytes=reserved - buffers,
        overhead=OverheadSizes(repacked=share.repacked, projector=reserved - share.total),
    )


def _host_overhead(solution: Solution) -> OverheadSizes:
    process, pool, share = solution.estimate.process, solution.pool, solution.estimate.host
    return OverheadSizes(
        repacked=share.repacked,
        program=process.private,
        libraries=process.shared,
        tokenizer=process.tokenizer,
        outputs=process.outputs,
        threads=process.threads,
        projector=solution.extras,
        checkpoints=pool.reserved - pool.cache,
        prompt_cache=pool.cache,
        margin=solution.margin,
    )


def _variant(row: Row, plan: Plan) -> PlannedVariant:
    return PlannedVariant(
        quantization=row.candidate.label,
        size_bytes=row.candidate.file_bytes or row.candidate.size_bytes,
        fits=row.fits,
        chosen=row is plan.chosen or row.solution is plan.solution,
        where=placement_text(row) if row.fits else "",
        context=row.solution.setting.context,
        slots=row.solution.setting.slots,
        total_bytes=row.solution.total,
        expected_bytes=row.solution.expected,
        tokens_per_second=_rounded(row.speed),
        reason=row.why,
    )


def _rounded(speed: float | None) -> float | None:
    return None if speed is None else round(speed, 1)
