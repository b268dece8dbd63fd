"""Which variant of a model suits a machine, and how to run it there."""

from oprel.telemetry.recommender.planning import Candidate, Plan, plan, plan_among

__all__ = ["Candidate", "Plan", "plan", "plan_among"]
