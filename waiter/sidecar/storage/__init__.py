"""The persistent state of the sidecar: waits and events in one SQLite database."""
