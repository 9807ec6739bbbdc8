"""What the command and the sidecar share: arguments, streams, log, signals and exit codes."""
