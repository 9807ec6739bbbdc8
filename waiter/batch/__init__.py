"""Many waits served by one listing."""
