"""Erasure of a customer's personal data: what stands against it, who decides, and the entry that says so."""
