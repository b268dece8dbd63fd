"""The process of the daemon: its lock, sockets, signals and log, and what it says to a service manager."""
