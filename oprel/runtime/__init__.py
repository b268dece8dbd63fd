"""Engines: which program serves a model, how it is started and supervised, and how oprel talks to it."""
