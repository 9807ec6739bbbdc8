"""The result on standard output."""
