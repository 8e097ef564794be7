"""The work list: open cases, and what operators do about them."""
