"""Builds of llama.cpp's server: which are listed, which fits, how one is fetched or built, what is installed."""
