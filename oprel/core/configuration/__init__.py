"""Where settings come from, and what a running daemon says of its own."""
