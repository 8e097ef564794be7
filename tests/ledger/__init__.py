"""The tests of the write side; outside `store/` they are of decisions and values, and need nothing but memory."""
