"""The library of installed models: finding, creating, importing, quantizing and pushing them."""
