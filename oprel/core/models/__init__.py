"""Installed models: their manifests and blobs, and Modelfiles."""
