"""Answers that follow a schema: formats, and calls of tools that must be called."""
