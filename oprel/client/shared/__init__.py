"""What the public classes are made of, besides their calls: connections, and signatures."""
