"""Webhooks and the feed of events: what happens to payments is told to the servers of shops."""
