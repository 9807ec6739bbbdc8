"""Arguments and environment, resolved to settings."""
