"""Regular expressions as JSON Schema means them (ECMA 262), matched without backtracking.

Patterns come from strangers: Python's `re` may take exponential time, and knows another dialect.
"""
