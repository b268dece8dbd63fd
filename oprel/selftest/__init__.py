"""Checks of the installed engine, on a daemon of its own: what `oprel selftest` runs."""
