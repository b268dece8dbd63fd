"""What the daemon records about engines: metrics, crashes, quarantine, memory shortages."""
