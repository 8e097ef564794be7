"""How many payments a second one machine completes, measured through the front door."""
