"""The choice of an engine and its program for a model on this machine."""
