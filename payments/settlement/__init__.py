"""A stored STK callback to Paid or Failed: authenticated by its URL, or confirmed by a status query."""
