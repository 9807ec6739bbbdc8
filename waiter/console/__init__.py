"""What every command is made of, the sidecar included: its arguments, streams, voice, log, signals and exit codes."""
