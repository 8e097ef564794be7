"""Whole payments as seen from outside: over HTTP, with the simulator as M-Pesa."""
