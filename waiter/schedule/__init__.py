"""When to poll next: mathematics without I/O."""
