"""One module per command, with its `add_parser` and `main`."""
