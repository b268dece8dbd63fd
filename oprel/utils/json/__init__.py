"""JSON that is cut off, and JSON schemas."""
