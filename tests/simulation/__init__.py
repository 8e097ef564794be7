"""Deterministic simulation: whole days of payments in one process, on in-memory doubles of PostgreSQL, shop and M-Pesa.

The same seed gives the same run, byte for byte. See docs/reliability.md.
"""
