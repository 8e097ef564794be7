"""The HTTP API: parse the request, call a service, show the result."""
