"""How many payments a second one machine completes, measured over HTTP."""
