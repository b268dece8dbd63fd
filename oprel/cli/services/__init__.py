"""Services of the operating system that run the daemon."""
