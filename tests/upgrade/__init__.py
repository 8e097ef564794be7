"""A database that an earlier release made, loaded into this one: it opens, verifies and goes on."""
