"""Tokens that are refused before they end."""
