"""At most one live prompt a phone."""
