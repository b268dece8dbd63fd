"""Wire types of oprel's own API, shared by server and client."""
