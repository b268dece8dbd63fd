"""Terminal output: tables, progress bars, Markdown and line wrapping."""
