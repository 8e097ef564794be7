"""The people who decide: who they are, what they may not decide, and what a second one has to approve."""
