"""One key, one effect: store, claim, answer."""
