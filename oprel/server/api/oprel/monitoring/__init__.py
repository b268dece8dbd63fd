"""What goes on in the daemon: figures, logs, crashes, events."""
