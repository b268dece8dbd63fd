"""How fast a CPU or GPU computes with a model, and with how many threads."""
