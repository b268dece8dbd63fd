"""Plans against the memory that real engines had with every slot filled (`bin/bench resident --json`)."""

import json
import statistics
from functools import cache
from typing import Any

import pytest

from benchmarks.models import GUIDE_FILE
from benchmarks.studies.resident import MEDIAN, WORST, plan_of
from oprel.formats.gguf import GGUFFile, read_gguf
from oprel.telemetry.recommender.placement import Solution
from oprel.telemetry.recommender.settings import PlanConstraints
from tests.fixtures.known_models import DATA
from tests.fixtures.random_models import random_header

CASES: list[dict[str, Any]] = json.loads((DATA / "resident_cases.json").read_text())
MODELS = sorted({case["model"] for case in CASES})


@cache
def header(model: str) -> GGUFFile:
    return read_gguf(GUIDE_FILE) if model == "guide" else random_header(model)


def planned(case: dict[str, Any]) -> Solution:
    constraints = PlanConstraints(context=case["context"], slots=case["slots"], key_type=case["cache_type"])
    if case["embeds"]:
        constraints = PlanConstraints(context=case["context"], embedding=True)
    return plan_of(header(case["model"]), constraints).solution


@pytest.mark.parametrize("model", MODELS)
def test_what_is_expected_is_what_engines_took(model: str) -> None:
    for case in CASES:
        if case["model"] == model:
            found = planned(case)
            assert found.host_expected == pytest.approx(case["full"], rel=WORST), case
            assert found.host_needs >= case["peak"], "an engine took more than was reserved for it"


def test_most_plans_are_much_closer() -> None:
    errors = [abs(planned(case).host_expected / case["full"] - 1) for case in CASES]
    assert len(MODELS) >= 16 and len(errors) >= 96
    assert statistics.median(errors) <= MEDIAN
