"""Supervision of engine processes: start, health, hangs, exits, logs and records."""
