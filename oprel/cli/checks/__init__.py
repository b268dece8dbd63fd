"""Further checks of `oprel doctor`."""
