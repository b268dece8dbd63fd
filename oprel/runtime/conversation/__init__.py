"""Conversations in the form that a model's chat template renders without losing any of them. Pure but for `rules`."""
