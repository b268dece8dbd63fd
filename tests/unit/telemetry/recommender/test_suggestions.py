"""What is suggested beside a plan: each is what planning again with one change gives."""

from dataclasses import replace

from oprel.core.variants import bits_per_weight
from oprel.telemetry.memory.estimator import footprint_of
from oprel.telemetry.recommender.budgets import Budgets
from oprel.telemetry.recommender.candidates import Candidate
from oprel.telemetry.recommender.plan_wire import plan_response
from oprel.telemetry.recommender.planning import Plan, plan
from oprel.telemetry.recommender.settings import PlanConstraints, Preference
from oprel.telemetry.recommender.suggestions import NOTEWORTHY_BYTES, Suggestion, suggestions
from tests.fixtures.known_models import known_header

GIB = 1024**3
CPU_64 = Budgets(host=56 * GIB, host_bandwidth=42 * 10**9, cores=8)
LABELS = ("Q8_0", "Q6_K", "Q4_K_M", "Q3_K_L", "IQ2_M")


def variants(model: str, labels: tuple[str, ...] = LABELS) -> list[Candidate]:
    header = known_header(model)
    count, whole = header.parameter_count, footprint_of(header)
    sizes = {label: round(count * (bits_per_weight(label) or 0) / 8 * 1.02) for label in labels}
    return [
        Candidate(label=label, footprint=whole.resized(size, label), parameters=count) for label, size in sizes.items()
    ]


def by_change(current: Plan) -> dict[str, Suggestion]:
    return {each.change: each for each in suggestions(current)}


def test_each_change_saves_what_a_plan_with_it_needs_less() -> None:
    asked = PlanConstraints(context=32_768, slots=4, prefer=Preference.QUALITY)
    current = plan(variants("llama3.1-8b"), CPU_64, asked)
    found = by_change(current)
    assert set(found) == {
        "q8_0 KV",
        "half the context",
        "one request at a time instead of 4",
        "Q4_K_M instead of Q8_0",
    }
    half = plan([current.chosen.candidate], CPU_64, replace(asked, context=16_384))
    assert found["half the context"].saved_bytes == current.solution.expected - half.solution.expected > GIB
    four = found["Q4_K_M instead of Q8_0"]
    assert four.speedup > 1.3 and "x as fast" in four.text
    assert found["q8_0 KV"].text.startswith("q8_0 KV saves ")
    saved = [each.saved_bytes for each in suggestions(current)]
    assert saved == sorted(saved, reverse=True)


def test_only_what_is_worth_mentioning_is_suggested() -> None:
    small = plan(variants("mamba-2.8b", ("Q4_K_M",)), CPU_64, PlanConstraints(context=4096, slots=1))
    assert suggestions(small) == ()
    assert all(each.saved_bytes >= NOTEWORTHY_BYTES for each in suggestions(plan(variants("gemma3-4b"), CPU_64)))


def test_a_plan_that_does_not_fit_has_no_suggestions() -> None:
    assert suggestions(plan(variants("llama3.1-70b"), Budgets(host=4 * GIB))) == ()


def test_a_slow_plan_says_so_and_what_would_be_faster() -> None:
    slow = plan(variants("llama3.1-70b", ("Q4_K_M", "Q3_K_L")), CPU_64)
    notes = plan_response("m", slow, []).notes
    assert any("tokens/s is too slow to be pleasant: " in note and "a smaller model" in note for note in notes)
    quick = plan_response("m", plan(variants("llama3.2-1b"), CPU_64), [])
    assert not any("too slow" in note for note in quick.notes)


def test_preferences_decide_among_quantizations_on_a_cpu() -> None:
    def label(prefer: Preference | None, model: str = "llama3.1-8b") -> str:
        return plan(variants(model), CPU_64, PlanConstraints(prefer=prefer)).chosen.candidate.label

    assert [label(None), label(Preference.QUALITY), label(Preference.SPEED)] == ["Q4_K_M", "Q8_0", "Q4_K_M"]
    assert [label(None, "llama3.2-1b"), label(Preference.SPEED, "llama3.2-1b")] == ["Q8_0", "Q4_K_M"]


def test_who_prefers_context_gets_more_of_it() -> None:
    few = replace(CPU_64, host=20 * GIB)
    usual, long = (
        plan(variants("llama3.1-8b"), few, PlanConstraints(prefer=prefer)) for prefer in (None, Preference.CONTEXT)
    )
    assert (usual.solution.setting.slots, long.solution.setting.slots) == (8, 1)
    assert long.solution.setting.context >= usual.solution.setting.context
