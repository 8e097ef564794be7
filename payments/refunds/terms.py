"""The terms on which money goes back."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RefundTerms:
    """Whether a policy approves refunds in an operator's place, and under which address M-Pesa reports results."""

    is_automatic: bool
    endpoints_url: str
