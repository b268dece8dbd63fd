"""Choose the variant of a model that suits a machine, and how to run it there."""

from oprel.telemetry.recommender.candidates import Candidate
from oprel.telemetry.recommender.planning import Plan, plan, plan_among

__all__ = ["Candidate", "Plan", "plan", "plan_among"]
