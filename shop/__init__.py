"""The port to a shop, and the built-in shop."""
