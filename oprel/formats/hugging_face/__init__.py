"""Folders as Hugging Face publishes them: safetensors with a config.json."""
