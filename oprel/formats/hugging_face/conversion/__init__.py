"""Converts models of Hugging Face's layout to GGUF, for the engine that is always installed."""
