"""Inbound messages from M-Pesa: store, authenticate, dispatch, retry, dead-letter."""
