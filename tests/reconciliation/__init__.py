"""Tests of api.reconciliation."""
