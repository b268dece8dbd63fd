"""What both clients, `Client` and `AsyncClient`, are made of: addresses, transports, calls and types."""
