"""The request budget that all waits of an account share."""
