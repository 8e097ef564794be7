"""The event store: it loses nothing, repeats nothing, and rewrites nothing."""
