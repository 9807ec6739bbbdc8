"""What connects waiter to other tools; each module needs an extra of its own, and no other part of waiter imports any."""
