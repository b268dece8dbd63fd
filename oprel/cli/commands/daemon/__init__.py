"""The daemon: start, state, logs, end."""
