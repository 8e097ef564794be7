"""What a request passes on its way to a resource: request log, authentication, rate limit, idempotency."""
