"""Webhooks: the end of each wait as one signed POST, repeated until the receiver accepts it."""
