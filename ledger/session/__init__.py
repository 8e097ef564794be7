"""The payment session: values, state, events and commands. Pure: no clock, no network, no database."""
