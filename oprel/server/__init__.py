"""The daemon: HTTP APIs, inference, the pool of engines, downloads, and the model library."""
