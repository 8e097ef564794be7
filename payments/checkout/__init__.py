"""Open a session, send the STK push, extend it; tell the buyer what can be done next."""
