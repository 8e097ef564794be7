"""STK callback and status query to Paid or Failed."""
