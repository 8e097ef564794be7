"""What happens to a payment: use cases and process managers. Ledger, shop and M-Pesa meet here only."""
