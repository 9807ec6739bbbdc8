"""The HTTP side of the sidecar: the control API with its page, and the probes."""
