"""The checks of `oprel selftest`: they test the installed engine with a separate daemon."""
