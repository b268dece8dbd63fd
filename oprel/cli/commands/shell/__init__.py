"""Help, version and shell completion."""
