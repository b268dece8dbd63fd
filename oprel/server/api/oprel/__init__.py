"""oprel's own API: status, downloads, library, tokens and metrics."""
