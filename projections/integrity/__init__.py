"""The invariants: the log against every table that was made of it."""
