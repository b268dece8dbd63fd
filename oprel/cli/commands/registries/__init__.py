"""Finding models, and getting them from and to registries."""
