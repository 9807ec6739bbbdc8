"""Progress on standard error while tasks are awaited."""
