"""The long-lived service: waits that other programs ask for over HTTP, kept on disk until they end."""
