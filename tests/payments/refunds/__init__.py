"""Refunds: decisions, reversals, results, and silence."""
