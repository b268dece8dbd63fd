"""The disk space of models: what they take, and what can be removed."""
