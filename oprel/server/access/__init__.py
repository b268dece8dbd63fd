"""Who sends a request, and what that allows."""
