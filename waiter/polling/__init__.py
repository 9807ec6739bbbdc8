"""One wait: its state, its limits and its events."""
