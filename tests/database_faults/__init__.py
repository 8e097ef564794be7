"""A PostgreSQL that ends connections, takes no writes, changes under us, fills up or fails over."""
