"""A long-running service: other programs request waits over HTTP, and waits are stored on disk until they end."""
