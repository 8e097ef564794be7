"""The write side: the PaymentSession aggregate, its decisions, and the event store."""
