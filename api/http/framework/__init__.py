"""The blueprint, errors, JSON and the OpenAPI document."""

API_PREFIX = "/api/"
"""What every path of the API begins with; the pages lie elsewhere."""

CALLBACK_PREFIXES = (
    "/api/payments/callbacks",
    "/api/payments/transactions/mpesa_callback",
    "/api/payments/c2b/",
    "/api/payments/results/",
    "/api/payments/timeouts/",
)
"""What the paths begin with that M-Pesa posts to."""
