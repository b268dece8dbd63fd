"""Downloads in the background: their queue, progress and records."""
