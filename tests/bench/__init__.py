"""The load test: how many payments a second one machine completes over HTTP."""
