"""The machine and its engines."""
