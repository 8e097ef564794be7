"""Tests of what one machine runs."""
