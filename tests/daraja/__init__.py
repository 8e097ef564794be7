"""Tests of the Daraja package."""
