"""The event log as files: which events, in which form, and how an export that was ended goes on."""
