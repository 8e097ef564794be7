"""Giving money back: who decides, how it is sent, what M-Pesa says of it, and what is done about silence."""
