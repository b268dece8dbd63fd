"""oprel's own API of the library: its models, and their files."""
