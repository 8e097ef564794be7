"""The durable side of the ledger: PostgreSQL tables, the event recorder, keys and locks."""
