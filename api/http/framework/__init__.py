"""The blueprint, errors, JSON and the OpenAPI document."""
