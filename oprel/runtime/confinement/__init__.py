"""What an engine may not do: outlive the daemon, reach the network, take all memory."""
