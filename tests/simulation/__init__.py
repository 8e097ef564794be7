"""Whole days of payments in one process: real policies on a store, a shop and an M-Pesa made of memory.

A run is named by its seed: the same seed gives the same log, byte for byte. See docs/reliability.md.
"""
