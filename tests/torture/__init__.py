"""A machine that tries to lose money: real processes under load, killed, cut off and starved; then audited."""
