"""Tests of the shop's endpoints on a real shop."""
