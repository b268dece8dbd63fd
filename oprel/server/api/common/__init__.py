"""What the APIs share: decoding and encoding of requests, and streaming of answers."""
