"""Tests of the client: its parts on their own, and the whole over real HTTP against a server that does as told."""
