"""The HTTP doors: parse, ask, show."""
