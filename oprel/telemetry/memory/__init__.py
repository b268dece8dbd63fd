"""What a model takes in memory, computed from its header."""

from oprel.telemetry.memory.estimator import MIB, Estimate, anatomy_of, estimate

__all__ = ["MIB", "Estimate", "anatomy_of", "estimate"]
