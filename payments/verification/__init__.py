"""Scheduled verification runs."""
