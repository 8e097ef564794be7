"""Request and response schemas, and the fields they are made of."""
