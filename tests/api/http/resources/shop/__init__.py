"""Tests of the shop's doors, on a real shop behind them."""
