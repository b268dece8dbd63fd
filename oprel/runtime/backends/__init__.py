"""Backends: what oprel knows of each engine, and how it talks to one. Packages add their own (docs/extending.md)."""
