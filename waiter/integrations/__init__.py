"""What connects waiter to other tools; each module needs its own extra, and no other part of waiter imports any."""
