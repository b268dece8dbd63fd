"""Measurements of models, and what earlier ones were."""
