"""Conversations at the terminal: `oprel chat`, and `oprel run` without a prompt."""
