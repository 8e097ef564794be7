"""One file a resource: parse the request, call a service, show the result."""
