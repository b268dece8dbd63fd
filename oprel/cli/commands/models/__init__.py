"""The installed models and their files."""
