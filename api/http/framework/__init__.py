"""The blueprint, errors, JSON and the OpenAPI document."""

API_PREFIX = "/api/"
"""What every path of the API begins with; the pages lie elsewhere."""
