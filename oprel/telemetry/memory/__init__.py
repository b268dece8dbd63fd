"""How much memory a model needs, computed from its header."""

from oprel.telemetry.memory.estimator import MIB, Estimate, estimate, footprint_of

__all__ = ["MIB", "Estimate", "footprint_of", "estimate"]
