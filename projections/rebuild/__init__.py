"""Rebuild a projection from the first event and compare it with the live one."""
