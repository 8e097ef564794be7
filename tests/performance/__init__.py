"""What each command costs, in counts that a machine does not change."""
