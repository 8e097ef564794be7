"""The crash and fault torture harness: real processes under load, killed, cut off and starved; then audited."""
