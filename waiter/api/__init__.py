"""Gcore's API without I/O: what to send, and any response as a value or one error."""
