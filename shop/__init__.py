"""What the ledger asks of a shop, and the shop that is built in."""
