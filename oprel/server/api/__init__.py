"""The HTTP APIs, one package for each dialect."""
