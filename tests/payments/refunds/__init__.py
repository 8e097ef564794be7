"""Giving money back: decisions, sendings, results, and silence."""
