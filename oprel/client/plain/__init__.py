"""A client with the standard library alone, for commands that should start at once."""
