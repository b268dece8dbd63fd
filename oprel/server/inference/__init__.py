"""Answers to requests: completions, their continuation on another engine, truncation, embeddings."""
