"""llama-server's dialect of OpenAI's API, which the daemon speaks with every engine."""
