"""One module for each engine: its `Backend` with its arguments, dialect and quirks."""
