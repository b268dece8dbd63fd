"""Answers and conversations."""
